"""A graph whose stages put secrets of the environment wherever a stage can put text."""
