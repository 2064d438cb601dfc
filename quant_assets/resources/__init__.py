"""Resources of the assets: the plan of the run, the compute engine, the tracker."""
