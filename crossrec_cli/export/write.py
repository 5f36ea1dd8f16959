"""Writes a run's model into a folder for another machine, completely or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq

from crossrec_cli.artifacts.files import FINETUNE, RECOMMEND, TAG_NAMES
from crossrec_cli.artifacts.job import Summary
from crossrec_cli.artifacts.store import Artifact, Store, describe_files, seal, sync
from crossrec_cli.artifacts.work import Work
from crossrec_cli.config.document import masked
from crossrec_cli.config.load import dump_config, load_config
from crossrec_cli.config.schema import Config, Runtime
from crossrec_cli.errors import InputError, UnavailableError
from crossrec_cli.export.card import card
from crossrec_cli.export.folder import CARD, CONFIG_FILE, EXPORT, GRAPH, VERSION, named_files
from crossrec_cli.export.graph import write_graph
from crossrec_cli.export.replacement import check_replaceable, replacing
from crossrec_cli.models.dataset import load_dataset, load_fused
from crossrec_cli.pipeline.current import read_by
from crossrec_cli.pipeline.evaluated import read_facts
from crossrec_cli.pipeline.table import BY_NAME, stage_of
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Reporter


def write_export(config: Config, folder: Path, report: Reporter) -> Artifact:
    """Copy the files that recommend reads, and write the scorers as ONNX and a model card next to them.

    Args:
        config: the run's; the caller must hold its directory's lock.
        folder: where to; an earlier export there is replaced.
        report: gets messages.

    Raises:
        ArtifactError: if an artifact to export is missing, damaged or out of date.
        ConfigError: if the folder holds anything but an export.
        UnavailableError: if the package for ONNX is missing.
    """
    if not find_spec("onnxscript"):
        raise UnavailableError.without("onnxscript", "onnx", "export")
    work = Work()
    folder = folder.resolve()
    check_replaceable(folder)
    with replacing(folder) as draft:
        artifacts = read_by(config, RECOMMEND, report)
        inputs = {file: artifact.file(file) for file, artifact in BY_NAME[RECOMMEND].inputs(artifacts).items()}
        summary = _fill(draft, masked(config), artifacts, inputs, report)
        files = {name: entry for name, entry in describe_files(draft).items() if name != CARD}  # users may edit it
        manifest = work.manifest(
            EXPORT,
            VERSION,
            files[CONFIG_FILE].sha256,
            artifacts[FINETUNE].manifest.config,
            {file: artifacts[stage_of(file)].sha256(file) for file in inputs},
            files,
            summary,
            config.seed,
        )
        seal(draft, manifest)
    return Artifact(folder, manifest)


def _fill(
    draft: Path, config: Config, artifacts: Mapping[str, Artifact], inputs: Mapping[str, Path], report: Reporter
) -> Summary:
    """Write all files but the manifest."""
    for path in inputs.values():
        shutil.copyfile(path, draft / path.name)
    (draft / CONFIG_FILE).write_text(dump_config(config), encoding="utf-8")
    config = load_config(draft / CONFIG_FILE, _copied(draft, config))
    (draft / CONFIG_FILE).write_text(dump_config(config), encoding="utf-8")
    device.prepare(Runtime(device=("cpu",), precision="fp32", num_threads=config.runtime.num_threads), config.seed)
    report.say("writing the scorers as ONNX")
    write_graph(draft / GRAPH, load_fused(inputs, config.interest), pq.read_metadata(inputs[TAG_NAMES]).num_rows)
    dataset = load_dataset(inputs)
    facts = read_facts(Store(config.run_path), config.report)
    if facts is None:
        report.warn("the model card has no test figures; run 'crossrec evaluate' and export again to have them")
    text = card(config, inputs, dataset, [artifact.manifest for artifact in artifacts.values()], facts)
    (draft / CARD).write_text(text, encoding="utf-8")
    sync(draft / CARD)
    return {"items": dataset.items.num_rows, "users": dataset.users.num_rows, "evaluated": facts is not None}


def _copied(draft: Path, config: Config) -> list[str]:
    """Copy the files that ``recommend`` names; returns overrides of the config that name the copies.

    Raises:
        InputError: if one cannot be read.
    """
    overrides = []
    for field, path in named_files(config).items():
        name = f"{field.rpartition('.')[2]}-{Path(path).name}"  # two files may have the same name
        try:
            shutil.copyfile(path, draft / name)
        except OSError as error:
            raise InputError(f"recommend.{field}: {path}: {error.strerror or error}") from None
        overrides.append(f"recommend.{field}={json.dumps(name)}")
    return overrides
