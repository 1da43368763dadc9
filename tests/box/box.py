# SPDX-License-Identifier: LGPL-2.1-or-later
"""A box: a throw-away Debian host with real systemd, booted from an overlay in half a second. Works in a lab only."""

import collections
import ctypes
import errno
import fcntl
import json as jsonlib
import os
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

TBX = Path("/run/tbx")
# How long something may take that has to come: no test is about that, and a machine may be slow, or busy.
PATIENCE = 60
MACHINE_NOISE = (
    "Failed to configure loopback network device",  # the lab's machine may lack CAP_SYS_RESOURCE
    "Failed to set fd limit to 65536",
)

Answer = collections.namedtuple("Answer", "status headers body")
Ctl = collections.namedtuple("Ctl", "returncode stdout stderr objects")
Once = collections.namedtuple("Once", "returncode results summary stderr")
Result = collections.namedtuple("Result", "returncode stdout stderr")


class CommandFailed(AssertionError):
    """A command in the box that should have succeeded."""

    def __init__(self, command, result):
        super().__init__(f"{command!r} exited with {result.returncode}\n{result.stdout}{result.stderr}")
        self.result = result


def cgroup_trees():
    """The hierarchies a box's own cgroup has to be made in; the first is version 2."""
    hybrid = Path("/sys/fs/cgroup/unified")
    return [hybrid, hybrid.parent / "systemd"] if hybrid.is_dir() else [hybrid.parent]


def wait_until(condition, timeout, what):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.005)


class Box:
    """One host. Boots by itself when first needed; what is written before that is there from its first moment."""

    PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
    ENVIRONMENT = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "SYSTEMD_COLORS": "0"}

    def __init__(self, name="box", destdir=None, base=None, netns=None):
        """@netns: name of a network namespace in /run/netns; without, the box has a loopback of its own only."""
        self.name = name
        self.netns = netns
        self.dir = TBX / name
        self.root = self.dir / "root"
        self.artifacts = self.dir / "artifacts"
        self._leader = None
        self._nspawn = None
        self._cgroups = [tree / f"tbx-{os.environ['AGENTD_LAB']}-{name}" for tree in cgroup_trees()]

        lower = [Path(base or os.environ["AGENTD_BASE"])]
        destdir = destdir or os.environ.get("AGENTD_DESTDIR")
        if destdir:
            lower.insert(0, Path(destdir).resolve(strict=True))
            for link in ("bin", "lib", "lib64", "sbin"):
                # It would hide the link of this name into /usr, and with it the host's programs.
                assert not (lower[0] / link).exists(), f"{lower[0]} must not hold /{link}: install to /usr/{link}"
        for path in ("upper", "work", "root", "artifacts"):
            (self.dir / path).mkdir(parents=True)
        options = f"lowerdir={':'.join(map(str, lower))},upperdir={self.dir}/upper,workdir={self.dir}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root], check=True)
        self.write("/etc/hostname", f"{name}\n")
        self.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {name}\n")

    # ---- life ----

    @property
    def running(self):
        return self._leader is not None

    @property
    def leader(self):
        """PID, in the lab, of the box's systemd; boots the box."""
        if not self.running:
            self.start()
        return self._leader

    def start(self, timeout=PATIENCE):
        """Boots, and returns when the default target is reached."""
        assert not self.running
        for cgroup in self._cgroups:
            cgroup.mkdir(exist_ok=True)
        notify = self.dir / "notify"
        notify.unlink(missing_ok=True)
        network = f"--network-namespace-path=/run/netns/{self.netns}" if self.netns else "--private-network"
        console = self.dir / "console.log"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(console, "ab") as log:
            ready.bind(str(notify))
            ready.settimeout(0.1)
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--notify-ready=yes", "--boot",
                 "--console=read-only", "--resolv-conf=off", "--timezone=off",
                 f"--directory={self.root}", f"--machine={self.name}", f"--bind={self.artifacts}:/artifacts", network],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"NOTIFY_SOCKET": str(notify), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=self._enter_cgroups)
            try:
                self._wait_ready(ready, time.monotonic() + timeout)
            except BaseException:
                self.stop()
                raise

    def _enter_cgroups(self):
        for cgroup in self._cgroups:
            (cgroup / "cgroup.procs").write_text("0")

    def _wait_ready(self, ready, deadline):
        leader = None
        while True:
            try:
                message = ready.recv(4096).decode().splitlines()
            except TimeoutError:
                if self._nspawn.poll() is not None:
                    raise RuntimeError(f"box {self.name} did not boot:\n{self.console()}") from None
                if time.monotonic() > deadline:
                    raise TimeoutError(f"box {self.name} is not up in time:\n{self.console()}") from None
                continue
            for line in message:
                if line.startswith("X_NSPAWN_LEADER_PID="):
                    leader = int(line.partition("=")[2])
                elif line == "READY=1":
                    (self.dir / "leader").write_text(str(leader))
                    self._leader = leader
                    return

    def stop(self):
        """Kills all processes at once: what a crash of the machine does to them, but what they wrote is kept."""
        if self._nspawn:
            try:
                (self._cgroups[0] / "cgroup.kill").write_text("1")
            except FileNotFoundError:
                pass
            self._gone()

    def poweroff(self, timeout=PATIENCE):
        """Shuts down in order."""
        self._shutdown("poweroff", 0, timeout)

    def reboot(self, timeout=PATIENCE):
        """Shuts down in order and boots again: /run is empty then, all else is kept."""
        self._shutdown("reboot", 133, timeout)
        self.start()

    def _shutdown(self, verb, status, timeout):
        self.run(["systemctl", verb], check=False)
        got = self._nspawn.wait(timeout)
        assert got == status, f"systemd-nspawn exited with {got}, expected {status}:\n{self.console()}"
        self._gone()

    def _gone(self):
        events = self._cgroups[0] / "cgroup.events"
        self._nspawn.wait(PATIENCE)
        wait_until(lambda: "populated 0" in events.read_text(), PATIENCE, f"processes of box {self.name} end")
        self._nspawn = self._leader = None
        for cgroup in self._cgroups:
            for path, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(path)

    def destroy(self):
        self.stop()
        subprocess.run(["umount", "--lazy", self.root], check=True)
        shutil.rmtree(self.dir)

    # ---- commands ----

    def _nsenter(self, argv):
        return [*self.nsenter(self.leader), *argv]

    @staticmethod
    def nsenter(leader):
        # Root and working directory by name: those of the mount namespace are the machine's own, and a command would
        # change the machine, when the lab was entered from a chroot.
        return ["nsenter", f"--target={leader}", "--all", "--root", "--wd", "--"]

    def run(self, command, timeout=PATIENCE, check=True, input=None, via="nsenter"):
        """Runs an argument vector, or a string by the box's sh; returns (returncode, stdout, stderr).

        @via: "nsenter" for looking: 5 ms, but with the lab's capabilities and outside of the box's cgroups.
              "systemd-run" for doing: 30 ms, a unit like any other.
        """
        if via == "systemd-run":
            # PID 1 expands variables in ExecStart=, there is no way to tell it not to.
            command_line = [word.replace("$", "$$") for word in shell_argv(command)]
            argv = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect",
                    f"--property=RuntimeMaxSec={timeout}", "--", *command_line]
        else:
            assert via == "nsenter", via
            argv = shell_argv(command)
        process = subprocess.Popen(
            self._nsenter(argv), stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.ENVIRONMENT, start_new_session=True,
            text=True, errors="backslashreplace")
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            kill_session(process)
            raise
        result = Result(process.returncode, stdout, stderr)
        if check and result.returncode != 0:
            raise CommandFailed(command, result)
        return result

    def agentd_once(self, *arguments, timeout=PATIENCE):
        """agentd --once --json: returns (returncode, results in order, the summary's counts, stderr)."""
        done = self.run(["/usr/sbin/agentd", "--once", "--json", *arguments], timeout=timeout, check=False)
        try:
            lines = [jsonlib.loads(line) for line in done.stdout.splitlines()]
        except ValueError:
            raise CommandFailed(["agentd", "--once", "--json", *arguments], done) from None
        results = [line for line in lines if "state" in line]
        summary = next((line["summary"] for line in lines if "summary" in line), {})
        return Once(done.returncode, results, summary, done.stderr)

    def agentctl(self, *words, json=False, user=None, timeout=PATIENCE, input=None):
        """agentctl, whatever its exit status; with json=True what it prints is parsed, one object a line.

        @user: run as that user, with all groups of that user
        """
        argv = ["/usr/bin/agentctl", *words, *(["--json"] if json else [])]
        done = self.run(self._as_user(argv, user), timeout=timeout, check=False, input=input)
        objects = None
        if json:
            try:
                objects = parse_lines(done.stdout)
            except ValueError:
                raise CommandFailed(argv, done) from None
        return Ctl(done.returncode, done.stdout, done.stderr, objects)

    def api(self, method, path, body=None, user=None, timeout=PATIENCE, headers=()):
        """A request to the daemon: returns (status, headers in small letters, body).

        @body: text as it is, or what becomes JSON; what comes back is parsed likewise, NDJSON as a list
        """
        argv = ["curl", "-sS", "-i", "--globoff", "--path-as-is", "--unix-socket", "/run/agentd/agentd.sock"]
        argv += ["--head"] if method == "HEAD" else ["-X", method]
        for header in headers:
            argv += ["-H", header]
        if body is not None:
            argv += ["-H", "Content-Type: application/json", "-H", "Expect:", "--data-binary", "@-"]
            body = body if isinstance(body, str) else jsonlib.dumps(body)
        argv.append(f"http://localhost{path}")
        done = self.run(self._as_user(argv, user), timeout=timeout, check=False, input=body)
        if done.returncode != 0 or not done.stdout.startswith("HTTP/"):
            raise CommandFailed(argv, done)
        head, _, text = done.stdout.partition("\n\n")
        first, *lines = head.splitlines()
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "ndjson" in fields.get("content-type", ""):
            text = parse_lines(text)
        elif "json" in fields.get("content-type", "") and text:
            text = jsonlib.loads(text)
        return Answer(int(first.split()[1]), fields, text)

    @staticmethod
    def _as_user(argv, user):
        return ["runuser", "-u", user, "--", *argv] if user else argv

    def role(self, name, text):
        """Writes the role /etc/agentd/conf.d/NAME.toml, at once: agentd never sees a part of it."""
        directory = "/etc/agentd/conf.d"
        self.write(f"{directory}/.{name}.new", text)
        fd = self._open(directory, os.O_PATH | os.O_DIRECTORY)
        try:
            os.rename(f".{name}.new", f"{name}.toml", src_dir_fd=fd, dst_dir_fd=fd)
        finally:
            os.close(fd)

    # ---- files, as the box sees them: its mounts, its symlinks ----

    def _open(self, path, flags, mode=0):
        top = f"/proc/{self._leader}/root" if self.running else self.root
        top_fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
        try:
            return openat2_in_root(top_fd, path, flags, mode)
        finally:
            os.close(top_fd)

    def _make_directory(self, path):
        try:
            return self._open(path, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            parent = self._make_directory(os.path.dirname(path))
            try:
                os.mkdir(os.path.basename(path), dir_fd=parent)
            finally:
                os.close(parent)
            return self._open(path, os.O_PATH | os.O_DIRECTORY)

    def write(self, path, text, mode=None):
        """Writes a file in place; makes its directories."""
        os.close(self._make_directory(os.path.dirname(os.path.normpath(path))))
        fd = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        with open(fd, "wb") as file:
            file.write(text.encode() if isinstance(text, str) else text)
            if mode is not None:
                os.fchmod(fd, mode)

    def read(self, path):
        with open(self._open(path, os.O_RDONLY)) as file:
            return file.read()

    def stat(self, path, follow=True):
        fd = self._open(path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def exists(self, path):
        """Whether there is something of that name, be it a dangling symlink."""
        try:
            self.stat(path, follow=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    # ---- journal ----

    def journal(self, *arguments):
        """Journal entries as dicts, oldest first; arguments are journalctl's: matches, "-u", …"""
        self.run(["journalctl", "--sync"])
        output = self.run(["journalctl", "--quiet", "--all", "--output=json", *arguments]).stdout
        return [jsonlib.loads(line) for line in output.splitlines()]

    def cursor(self):
        """The journal's present end, for wait_journal(after=)."""
        return self.journal("--lines=1")[0]["__CURSOR"]

    def wait_journal(self, *matches, where=None, after=None, timeout=PATIENCE):
        """Waits for an entry that has all "FIELD=value" and for which where(entry) is true; returns it.

        Looks at what is there already too, unless it is told by a cursor what came before.
        """
        # journalctl itself loses entries when it is given both a cursor and matches, hence they are applied here.
        wanted = [match.split("=", 1) for match in matches]
        argv = ["journalctl", "--quiet", "--all", "--output=json", "--follow", "--no-tail"]
        argv += [f"--after-cursor={after}"] if after else []
        process = subprocess.Popen(self._nsenter(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   env=self.ENVIRONMENT, start_new_session=True)
        try:
            for line in lines_until(process.stdout, time.monotonic() + timeout):
                entry = jsonlib.loads(line)
                if all(entry.get(key) == value for key, value in wanted) and (not where or where(entry)):
                    return entry
        finally:
            kill_session(process)
        raise TimeoutError(f"no journal entry {' '.join(matches)} within {timeout} s")

    def console(self):
        try:
            return (self.dir / "console.log").read_text(errors="backslashreplace")
        except FileNotFoundError:
            return ""

    def save(self, directory):
        """Saves what may tell why a test failed."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / "console.log").write_text(self.console())
        shutil.copytree(self.artifacts, directory / "artifacts", symlinks=True, dirs_exist_ok=True)
        if self.running:
            self.run("journalctl --sync", check=False)
        for name, output in ("journal.txt", "short-precise"), ("journal.export", "export"):
            with open(directory / name, "wb") as file:
                subprocess.run(["journalctl", f"--directory={self.root}/var/log/journal", f"--output={output}"],
                               stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)

    # ---- file systems to be nasty with ----

    def full_disk(self, path, size="64k", inodes=20):
        """Mounts a tiny tmpfs and fills it; some inodes are left. Returns its path."""
        self.run(["mkdir", "-p", path])
        self.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs", path])
        self.run(f"cat /dev/zero >{path}/filler", check=False)
        return path

    def loop_ext4(self, path, mib=16, *options):
        """Mounts a fresh ext4 on a loop device. options: of mke2fs."""
        return LoopExt4(self, path, mib, options=options)


class LoopExt4:
    """An ext4 whose power can be cut: what was synced is there after umount() and mount(), the rest is gone."""

    LOOP_CONFIGURE, LOOP_CTL_GET_FREE = 0x4C0A, 0x4C82  # linux/loop.h
    LO_FLAGS_AUTOCLEAR = 4
    EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2  # fs/ext4/ext4.h

    def __init__(self, box, path, mib=16, image=None, options=()):
        """@image: a file that holds the file system already; without, it is made, in memory like all of the lab's /run."""
        self.box = box
        self.path = path
        self.device = None
        self.image = image or box.dir / (path.strip("/").replace("/", "-") + ".ext4")
        if not image:
            with open(self.image, "wb") as file:
                file.truncate(mib << 20)
            subprocess.run(["mke2fs", "-q", "-t", "ext4", *options, self.image], check=True, stdin=subprocess.DEVNULL)
        self.mount()

    def mount(self, options="commit=300"):
        # By itself it would write down every 5 s what nobody has synced.
        # Attached with autoclear, so that the last close frees it: umount, or the end of the lab at any moment.
        with open(self.image, "r+b") as image, self._attach(image) as device:
            node = os.fstat(device.fileno()).st_rdev
            self.device = f"/dev/{os.path.basename(device.name)}"
            target = f"/proc/{self.box.leader}/root{self.device}"
            if not os.path.exists(target):
                os.mknod(target, stat.S_IFBLK | 0o600, node)
            self.box.run(["mkdir", "-p", self.path])
            self.box.run(["mount", "-t", "ext4", "-o", options, self.device, self.path])

    def _attach(self, image):
        with open("/dev/loop-control", "rb") as control:
            while True:
                number = fcntl.ioctl(control, self.LOOP_CTL_GET_FREE)
                device = open(f"/dev/loop{number}", "r+b", buffering=0)
                config = struct.pack("II 52xI 240x", image.fileno(), 0, self.LO_FLAGS_AUTOCLEAR)
                try:
                    fcntl.ioctl(device, self.LOOP_CONFIGURE, config)
                    return device
                except OSError as e:
                    device.close()
                    if e.errno != 16:  # EBUSY: somebody else was faster
                        raise

    def umount(self):
        self.box.run(["umount", self.path])

    def cut_power(self):
        """From now on every write fails with EIO, and what was not synced is lost. Then umount() and mount()."""
        fd = self.box._open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, self.EXT4_IOC_SHUTDOWN, struct.pack("I", self.NO_LOG_FLUSH))
        finally:
            os.close(fd)

    @property
    def attached(self):
        """Whether some loop device still has our image."""
        try:
            backing = Path("/sys/block", os.path.basename(self.device), "loop/backing_file").read_text()
        except OSError:  # the kernel takes the file away with the attachment, maybe just now
            return False
        return backing.strip() == str(self.image)


def parse_lines(text):
    return [jsonlib.loads(line) for line in text.splitlines()]


def shell_argv(command):
    return ["sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]


def kill_session(process):
    """Kills a process that leads a session, with what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    for pipe in process.stdin, process.stdout, process.stderr:
        if pipe:
            pipe.close()  # not read to its end: what fled from the session may hold the other one


def lines_until(pipe, deadline, rest=None):
    """The lines of a pipe as they come, until its end or the deadline.

    rest: a bytearray of who stops in between and asks again: what was read, and not given out yet
    """
    buffer = bytearray() if rest is None else rest
    while True:
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[:end + 1]
            yield line
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([pipe], [], [], left)[0]:
            return
        data = os.read(pipe.fileno(), 65536)
        if not data:
            return
        buffer += data


def openat2_in_root(top_fd, path, flags, mode):
    """open() as if top_fd were the root directory: absolute symlinks and ".." stay below it."""
    sys_openat2, resolve_in_root = 437, 0x10
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, mode, resolve_in_root)
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(10000):
        fd = libc.syscall(sys_openat2, top_fd, os.fsencode(path), how, len(how))
        if fd >= 0:
            return fd
        if ctypes.get_errno() != errno.EAGAIN:  # something was renamed meanwhile, anywhere, and there is a ".." on the way
            break
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
