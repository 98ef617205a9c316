"""Control of a run that another process trains, through a Unix socket."""
