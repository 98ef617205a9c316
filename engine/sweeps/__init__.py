"""Sweeps: grids of settings, the queue of runs, the pruning rule and the leaderboard."""
