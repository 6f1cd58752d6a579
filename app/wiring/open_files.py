"""The limit of open files of this process, of which every connection is one."""

import logging
import resource

log = logging.getLogger("atelier.service")

MOST = 65_536
"""No limit above this is asked for: what it allows also costs memory of the system."""
SPARE = 256
"""Files beside connections: models, libraries, logs, sockets of processes."""


def allow_open_files(connections: int) -> None:
    """Raise the limit as far as the system lets a process raise it itself; say so if that is too little.

    Programs start with a low limit (1,024), so that those that use select() work; this one does not.

    Args:
        connections: most of this process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft != resource.RLIM_INFINITY and soft < connections + SPARE:
        log.warning(
            "this process may open %d files; ATELIER_MAX_CONNECTIONS=%d needs %d: raise the limit (LimitNOFILE of "
            "systemd, ulimit -n), or lower the setting",
            soft,
            connections,
            connections + SPARE,
        )
