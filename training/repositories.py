"""Files of public git repositories at fixed commits."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "https://github.com"


class RepositoryError(Exception):
    """A repository, commit or file that cannot be had."""


@dataclass(frozen=True)
class Repository:
    """One commit of a git directory on this machine."""

    git_dir: Path
    commit: str

    def paths(self) -> list[str]:
        """All file paths of the commit, sorted."""
        names = _git(self.git_dir, "ls-tree", "-r", "-z", "--name-only", self.commit)
        return sorted(names.decode().rstrip("\0").split("\0"))

    def read(self, path: str) -> bytes:
        """The contents of one file."""
        return next(self.read_all([path]))[1]

    def read_all(self, paths: list[str]) -> Iterator[tuple[str, bytes]]:
        """Paths with their contents, by one process for all of them."""
        command = ["git", f"--git-dir={self.git_dir}", "cat-file", "--batch"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            for path in paths:
                process.stdin.write(f"{self.commit}:{path}\n".encode())
                process.stdin.flush()
                header = process.stdout.readline().split()
                if header[-1] == b"missing":
                    raise RepositoryError(f"no file {path} in {self.git_dir} at {self.commit}")
                contents = process.stdout.read(int(header[2]))
                process.stdout.read(1)
                yield path, contents
            process.stdin.close()


def open_repository(name: str, commit: str, cache: Path, mirror: Path | None = None) -> Repository:
    """The repository `owner/name` at a commit: from `mirror`, a folder of clones, if that is given,
    else from GitHub, fetched once into `cache` without its history."""
    if mirror is not None:
        repository = Repository(_cloned(mirror, name), commit)
    else:
        repository = Repository(cache / name.replace("/", "+"), commit)
        if not _has_commit(repository):
            repository.git_dir.mkdir(parents=True, exist_ok=True)
            _git(repository.git_dir, "init", "--quiet", "--bare")
            url = f"{HOST}/{name}.git"
            _git(repository.git_dir, "fetch", "--quiet", "--depth=1", url, commit)
    if not _has_commit(repository):
        raise RepositoryError(f"{repository.git_dir} lacks the commit {commit} of {name}")
    return repository


def _cloned(mirror: Path, name: str) -> Path:
    """The git directory of a clone in `mirror/OWNER+NAME` or `mirror/OWNER/NAME`, at most two
    levels down."""
    for folder in (mirror / name.replace("/", "+"), mirror / name):
        for pattern in ("HEAD", "*/HEAD", "*/*/HEAD"):
            for head in sorted(folder.glob(pattern)):
                if (head.parent / "objects").is_dir():
                    return head.parent
    raise RepositoryError(f"no clone of {name} in {mirror}")


def _has_commit(repository: Repository) -> bool:
    if not (repository.git_dir / "objects").is_dir():
        return False
    command = ["git", f"--git-dir={repository.git_dir}", "cat-file", "-e", repository.commit]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def _git(git_dir: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", f"--git-dir={git_dir}", *arguments], capture_output=True)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        raise RepositoryError(f"git {arguments[0]} of {git_dir} failed: {reason}")
    return done.stdout
