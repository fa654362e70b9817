"""Images drawn from trained networks: tasks, the loop that draws, and the folder that samples go to."""
