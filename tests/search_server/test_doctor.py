"""`lookalike doctor` tries things, and says what would mend them."""

import json

import onnx
import pytest
from onnx import TensorProto, helper

from search_server.doctor import TINY_GRAPH, doctor, examine
from train.command_line import exit_code


def test_this_machine_works(tmp_path, capsys):
    assert exit_code(doctor, ("doctor",), ["--json", "--home", str(tmp_path / "home")]) == 0
    record = json.loads(capsys.readouterr().out)
    found = {finding["topic"]: finding for finding in record["findings"]}
    assert found["image formats"]["state"] == "ok"
    assert "AVIF" in found["image formats"]["detail"]
    assert found["provider cpu"]["detail"].startswith("computes")
    assert found["FAISS"]["state"] == "ok"
    assert "numpy" in found["libraries"]["detail"]
    assert "cores" in found["processor"]["detail"]
    assert not (tmp_path / "home").exists(), "looking leaves nothing behind"


def test_the_report_for_people_marks_each_line(tmp_path, capsys):
    assert exit_code(doctor, ("doctor",), ["--home", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok      Python") for line in lines)
    assert "needed works" in lines[-1] or "Everything works" in lines[-1]


def test_a_provider_that_cannot_be_opened_is_a_warning_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("export.sessions.available_providers", lambda: ["cuda", "cpu"])
    findings = {finding.topic: finding for finding in examine(tmp_path)}
    assert findings["provider cuda"].state == "warning"
    assert "lookalike[cuda]" in findings["provider cuda"].remedy
    assert findings["provider cpu"].state == "ok"


def test_a_gpu_that_onnx_runtime_has_no_code_for_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr("export.sessions.has_nvidia_gpu", lambda: True)
    monkeypatch.setattr("export.sessions.available_providers", lambda: ["cpu"])
    findings = {finding.topic: finding for finding in examine(tmp_path)}
    assert findings["NVIDIA GPU"].state == "warning"
    assert "onnxruntime-gpu" in findings["NVIDIA GPU"].remedy


@pytest.mark.parametrize(("limit", "state"), [("1073741824", "warning"), ("max", "ok")])
def test_the_memory_of_a_container_counts(tmp_path, monkeypatch, limit, state):
    (tmp_path / "memory.max").write_text(limit + "\n")
    monkeypatch.setattr("search_server.doctor.CONTAINER_LIMITS", (tmp_path / "memory.max", tmp_path / "none"))
    assert {finding.topic: finding.state for finding in examine(tmp_path)}["memory"] == state


def test_a_workspace_that_cannot_be_written_is_a_problem(capsys):
    assert exit_code(doctor, ("doctor",), ["--home", "/proc/lookalike"]) == 2
    assert "PROBLEM workspace" in capsys.readouterr().out


def test_the_tiny_graph_is_what_onnx_makes():
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="")
    onnx.checker.check_model(model)
    assert model.SerializeToString() == TINY_GRAPH


@pytest.fixture(autouse=True)
def plain_logging(monkeypatch):
    monkeypatch.setattr("train.command_line.set_up_logging", lambda **_: None)
