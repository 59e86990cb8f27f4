"""The small process that stands beside one replica and outlives the autoscaler.

It is run by its file's path with ``python -I -S``, so that neither site-packages nor this package are imported (15 ms,
9 MB); it must import nothing but the few modules below. It claims the replica (a replica is started once, ever), runs
the command in a session of its own, copies its output to a bounded log, and writes down how it ended. It forwards no
signal: who stops a replica signals the replica's process group.

If the supervisor is killed, the kernel kills the replica too (PR_SET_PDEATHSIG): a replica never runs unseen. What the
replica leaves behind in its process group is killed when it ends; while a stop is under way (file ``stop``) it is
granted the rest of its grace first.

Files written in the replica's directory: ``claim`` (a symlink: supervisor's pid and birth), ``run.json``, ``log``,
``log.1``, ``exit.json``, and ``supervisor.err`` where it fails itself.
"""

# pathlib costs as much to import as everything else here together.
# ruff: noqa: PTH104, PTH123, PTH211

from __future__ import annotations

import os
import select
import signal
import sys
import time

SIGNALS_RESET = ("SIGPIPE", "SIGXFSZ", "SIGHUP", "SIGINT", "SIGTERM")
PR_SET_PDEATHSIG = 1
CANNOT_RUN = 127


def birth_of(pid: int) -> str:
    """Boot and start time in clock ticks: with the pid, the identity of a process. Empty where there is none.

    Ticks since boot are used, not seconds since the epoch, as those shift when the clock is set.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read(8)
    except (FileNotFoundError, ProcessLookupError):
        return ""
    if fields[0] in (b"Z", b"X"):
        return ""
    return f"{boot.decode()}.{fields[19].decode()}"


def write_whole(path: str, text: str) -> None:
    """The file holds all of ``text`` or does not change."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(temporary, path)


class Log:
    """``log`` and one older ``log.1``, each at most ``limit`` bytes. Output that cannot be written is counted."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lost = 0
        self.size = 0
        self.file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, chunk: bytes) -> None:
        """Appends; starts a new file first where this one would grow past the limit."""
        try:
            if self.size + len(chunk) > self.limit:
                os.rename("log", "log.1")
                os.close(self.file)
                self.file = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self.size = 0
            self.size += os.write(self.file, chunk)
        except OSError:
            # A full disk must not block the replica on its pipe: the loss is told in exit.json.
            self.lost += len(chunk)


def run_child(
    parent: int, go: int, failed: int, output: int, directory: str, argv: list[bytes], env: dict[bytes, bytes]
) -> None:
    """In the child: waits until it may go, then becomes the command. Never returns."""
    try:
        os.setsid()
        import ctypes  # noqa: PLC0415 -- in the child only: the supervisor stays small

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        for name in SIGNALS_RESET:
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        if os.read(go, 1) != b"g" or os.getppid() != parent:
            os._exit(CANNOT_RUN)
        os.chdir(directory)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.execvpe(argv[0], argv, env)  # noqa: S606 -- the one thing this program is for
    except OSError as error:
        place = directory if error.filename == directory else os.fsdecode(argv[0])
        os.write(failed, f"{place}: {os.strerror(error.errno or 0)}".encode())
    os._exit(CANNOT_RUN)


def group_is_gone(group: int) -> bool:
    """Whether no process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def kill_group(group: int) -> None:
    """SIGKILL to whatever is left of the group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def stop_ends_at() -> float:
    """Until when a stop that is under way grants time, in seconds since the epoch; 0 where none is."""
    try:
        with open("stop", encoding="ascii") as file:
            return float(file.read() or 0)
    except FileNotFoundError:
        return 0.0


def drain(output: int, log: Log) -> bool:
    """Copies what is there; True at the end of the stream."""
    while True:
        try:
            chunk = os.read(output, 65536)
        except BlockingIOError:
            return False
        if not chunk:
            return True
        log.write(chunk)


def copy_output(pid: int, output: int, log: Log) -> None:
    """Copies output until the child has ended; it is not reaped yet."""
    os.set_blocking(output, False)
    poll = select.poll()
    poll.register(output, select.POLLIN)
    try:
        poll.register(os.pidfd_open(pid), select.POLLIN)
        patience_ms = None
    except OSError:  # a kernel or sandbox without it
        patience_ms = 100
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        poll.poll(patience_ms)
        if drain(output, log):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def follow_child(pid: int, output: int, log: Log) -> int:
    """Copies output until the child ended and its group is gone; returns its exit code (128 + n for signal n)."""
    copy_output(pid, output, log)
    if not stop_ends_at():
        kill_group(pid)  # before it is reaped, so that the number cannot be another's
    status = os.waitpid(pid, 0)[1]
    while not group_is_gone(pid):
        if time.time() >= stop_ends_at():
            kill_group(pid)
        drain(output, log)
        time.sleep(0.02)
    drain(output, log)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def read_order() -> tuple[str, list[bytes], dict[bytes, bytes]]:
    """From standard input: the working directory, argv and environment, NUL-separated."""
    parts = sys.stdin.buffer.read().split(b"\0")
    count = int(parts[1])
    pairs = [part.partition(b"=") for part in parts[2 + count :] if part]
    return os.fsdecode(parts[0]), parts[2 : 2 + count], {name: value for name, _, value in pairs}


def report(line: str) -> None:
    """One line to whoever asked for the start; they may be gone."""
    try:
        os.write(1, line.encode())
    except OSError:
        return


def detach() -> None:
    """The start's pipe is closed, nothing of the starter's is held."""
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open("supervisor.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(errors, 2)


def supervise(directory: str, log_limit: int) -> None:
    """Claims the replica, runs it, writes its end. Reports ``started``, ``claimed`` or ``failed <why>``."""
    working, argv, env = read_order()
    os.chdir(directory)
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    me = os.getpid()
    try:
        os.symlink(f"{me}:{birth_of(me)}", "claim")
    except FileExistsError:
        report("claimed\n")
        return
    log = Log(log_limit)
    go_read, go_write = os.pipe()
    failed_read, failed_write = os.pipe()
    output_read, output_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        run_child(me, go_read, failed_write, output_write, working, argv, env)
    for end in (go_read, failed_write, output_write):
        os.close(end)
    write_whole("run.json", f'{{"pid": {pid}, "birth": "{birth_of(pid)}", "started_at": {time.time():.6f}}}')
    os.write(go_write, b"g")
    os.close(go_write)
    why = os.read(failed_read, 4096).decode(errors="replace")
    os.close(failed_read)
    if why:
        os.waitpid(pid, 0)
        log.write(f"cannot run {why}\n".encode())
        write_whole("exit.json", f'{{"code": {CANNOT_RUN}, "at": {time.time():.6f}, "log_lost": 0}}')
        report(f"failed {why}\n")
        return
    report("started\n")
    detach()
    code = follow_child(pid, output_read, log)
    write_whole("exit.json", f'{{"code": {code}, "at": {time.time():.6f}, "log_lost": {log.lost}}}')


def main() -> None:
    """``supervisor.py <replica's directory> <log limit in bytes>``, order on standard input."""
    if os.fork():
        os._exit(0)  # the starter waits for this one only, and so never has a child to reap later
    os.setsid()
    supervise(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
