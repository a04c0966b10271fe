"""Published leaderboards recomputed, and what is wrong with a folder of outputs and annotations."""
