"""What stands in deploy/: a hardened unit, an image that is pinned and not root, rules that name what there is."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vitrina.service.metrics import METRICS

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
RUNBOOKS = ("operate.md", "operate.ru.md")


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string((DEPLOY / "vitrina.service").read_text(encoding="utf-8"))
    return parser


def instructions(name: str = "Containerfile") -> list[tuple[str, str]]:
    """Instruction and the rest, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / name).read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in lines)]


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


# systemd


def test_the_unit_is_hardened_and_gives_time() -> None:
    service = unit()["Service"]
    for name in (
        "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables",
        "ProtectControlGroups", "RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality",
    ):  # fmt: skip
        assert service[name] == "yes", name
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"]) == ("strict", "")
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
    folder = service["WorkingDirectory"]
    assert service["ReadWritePaths"] == folder and f"-w {folder} serve" in service["ExecStart"]
    assert service["User"] not in {"", "root"}
    assert int(service["TimeoutStopSec"]) >= 30
    assert "1" in service["RestartPreventExitStatus"].split() and "4" not in service["RestartPreventExitStatus"].split()


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Where systemd is installed it has the last word; elsewhere every directive is one that systemd.exec(5) knows."""
    known = {
        "Unit": {"Description", "Wants", "After"},
        "Service": {
            "Type", "NotifyAccess", "User", "Group", "WorkingDirectory", "Environment", "EnvironmentFile", "ExecStart",
            "Restart", "RestartPreventExitStatus", "RestartSec", "TimeoutStartSec", "TimeoutStopSec", "LimitNOFILE",
            "UMask", "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "ProtectSystem",
            "ReadWritePaths", "ProtectHome", "PrivateTmp",
            "PrivateDevices", "ProtectClock", "ProtectControlGroups", "ProtectHostname",
            "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "RestrictAddressFamilies",
            "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "SystemCallArchitectures",
            "SystemCallFilter",
        },
        "Install": {"WantedBy"},
    }  # fmt: skip
    parser = unit()
    assert {section: set(parser[section]) for section in parser.sections()} == known
    program = shutil.which("systemd-analyze")
    if program is not None:
        text = (DEPLOY / "vitrina.service").read_text(encoding="utf-8")
        there = text.replace("/opt/vitrina/bin/vitrina", sys.executable)
        (tmp_path / "vitrina.service").write_text(there, encoding="utf-8")
        done = subprocess.run(
            [program, "verify", "--recursive-errors=no", "--man=no", str(tmp_path / "vitrina.service")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, [line for line in done.stderr.splitlines() if "vitrina.service" in line]) == (0, [])


# container


def test_every_base_image_is_pinned_by_tag_and_named_without_a_place() -> None:
    bases = [rest.split(" AS ")[0] for word, rest in instructions() if word == "FROM"]
    images = [service["image"] for service in compose()["services"].values()]
    assert bases and images
    for image in (*bases, *images):
        name, _, tag = image.partition(":")
        assert re.fullmatch(r"[a-z]+", name) and re.fullmatch(r"\d[\w.-]*", tag) and tag != "latest", image


def test_the_image_runs_as_nobody_special_keeps_data_in_a_volume_and_tells_its_health() -> None:
    last = instructions()
    last = last[max(n for n, (word, _) in enumerate(last) if word == "FROM") :]
    words = dict(last)
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", words["USER"])
    order = [word for word, _ in last]
    assert order.index("USER") < order.index("ENTRYPOINT") and order.count("USER") == 1
    assert words["VOLUME"] == words["WORKDIR"] == "/data"
    assert "/healthz" in words["HEALTHCHECK"] and words["STOPSIGNAL"] == "SIGTERM"
    assert (words["ENTRYPOINT"], words["CMD"]) == ('["vitrina"]', '["serve"]')


def test_what_the_image_copies_is_in_the_repository_and_hashed() -> None:
    copied = [rest.split() for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    sources = [source for *found, _ in copied for source in found]
    assert sources and [source for source in sources if not (ROOT / source).exists()] == []
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")
    installs = re.findall(r"(?:pip install|uv pip sync|uv pip install) ([^&]*)", runs)
    assert len(installs) == 4
    assert [each for each in installs if "--require-hashes" not in each and "--no-deps --no-index" not in each] == []
    assert not [word for word, _ in instructions() if word == "ADD"]


@pytest.mark.parametrize("name", ["Containerfile", "compose.yaml", "vitrina.service", "alerts.yml"])
def test_no_secret_no_place_and_no_root_stand_in_the_files(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    assert not re.findall(r"https?://(?!127\.0\.0\.1)|index-url|sudo|privileged: true|:latest", text)
    assert not re.findall(r"(?im)^\s*\w*password:\s*(?!\$\{)\S", text)


def test_compose_hangs_together() -> None:
    found = compose()
    services = found["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for volume in service["volumes"]:
            assert volume.split(":")[0] in found["volumes"], name
    vitrina = services["vitrina"]
    assert (DEPLOY / vitrina["build"]["context"] / vitrina["build"]["dockerfile"]).is_file()
    assert all(port.startswith("127.0.0.1:") for port in vitrina["ports"])
    assert vitrina["read_only"] and vitrina["cap_drop"] == ["ALL"]
    assert services["database"]["healthcheck"]


# alerts

SUFFIXES = ("", "_bucket", "_sum", "_count")
FUNCTIONS = {"job", "instance", "worker", "le"}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def labels_of(name: str) -> set[str] | None:
    """Labels of a sample; None when there is no such metric."""
    for metric in METRICS:
        suffixes = SUFFIXES[1:] if metric.kind == "histogram" else SUFFIXES[:1]
        if name in {f"{metric.name}{suffix}" for suffix in suffixes}:
            return set(metric.labels) | FUNCTIONS
    return None


def test_rules_name_metrics_and_labels_that_exist() -> None:
    assert len(rules()) > 15
    for rule in rules():
        names = re.findall(r"\b(?:vitrina|process|python)_\w+", rule["expr"])
        assert names or rule["expr"].startswith("up{"), rule["alert"]
        known = set[str]()
        for name in names:
            labels = labels_of(name)
            assert labels is not None, f"{rule['alert']} asks for {name}, which nobody tells"
            known |= labels
        used = {label for found in re.findall(r"(?:by|on) \(([^)]*)\)", rule["expr"]) for label in found.split(", ")}
        used |= set(re.findall(r"[{,]\s*(\w+)=~?\"", rule["expr"]))
        used |= set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert used <= known | FUNCTIONS, rule["alert"]


def test_rules_are_whole_and_their_runbook_has_the_place() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    page = (ROOT / "docs/how-to/operate.md").read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    }
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["expr"].count("(") == rule["expr"].count(")")
        path, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert path == "docs/how-to/operate.md" and anchor in anchors, rule["alert"]


@pytest.mark.parametrize("name", RUNBOOKS)
def test_the_runbook_speaks_of_every_alert(name: str) -> None:
    page = (ROOT / "docs/how-to" / name).read_text(encoding="utf-8")
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page] == []


def test_a_rule_for_a_metric_that_is_not_there_would_be_found() -> None:
    assert labels_of("vitrina_lag_secnods") is None
    assert labels_of("vitrina_request_seconds") is None, "a histogram has no sample of its own name"
    assert labels_of("vitrina_request_seconds_bucket") == {"route", "status", *FUNCTIONS}
