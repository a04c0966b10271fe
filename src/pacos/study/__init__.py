"""What runs teach: one page for a run; later grids of runs and their comparison."""
