"""One run, trained by several processes: who they are, what they tell each other."""
