"""What assets are given: the plan of the run, the compute engine, the tracker."""
