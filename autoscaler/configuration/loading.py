"""`load`: a YAML file and the environment to a `Configuration`, or to every problem at once.

Called by `cli` and whoever embeds the program. Order: read files, lay the environment over them, validate, build, look
at what follows from it, ask the plugins about their options. A later step runs on what the earlier ones left usable, so
that one pass shows all there is to mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from autoscaler.configuration.block import Block, without
from autoscaler.configuration.cache import Cache, LoadKey
from autoscaler.configuration.cluster_build import ClusterBuilder
from autoscaler.configuration.complaints import validation_problems
from autoscaler.configuration.consequences import consequences
from autoscaler.configuration.effective import digest_of
from autoscaler.configuration.environment import PREFIX, overrides_of
from autoscaler.configuration.files import FileCheck, all_readable
from autoscaler.configuration.listeners import listener_clashes
from autoscaler.configuration.models import ClusterModel, FileModel
from autoscaler.configuration.option_check import ValidateOptions, check_options
from autoscaler.configuration.salvage import news, salvage
from autoscaler.configuration.service_build import ServiceBuilder
from autoscaler.configuration.services import build_services
from autoscaler.configuration.settings import Configuration
from autoscaler.configuration.sources import MAIN_BYTES_MAX, UNREAD, Gathered, fingerprint, gather, read_source
from autoscaler.errors import ConfigurationError, Problem

_SHARED = ("defaults", "templates", "services")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration, its warnings, and where its values come from (`explain.show` reads it)."""

    configuration: Configuration
    warnings: tuple[Problem, ...]
    root: Block
    bodies: Mapping[str, Block]
    files: tuple[Path, ...] = ()
    """The files that the configuration names: they were readable when it was loaded."""


class Unfinished(ConfigurationError):
    """A configuration with errors; ``rest`` is what is valid of it, to find in one pass what else is wrong."""

    def __init__(self, problems: Sequence[Problem], rest: Loaded) -> None:
        super().__init__(problems)
        self.rest = rest


def load(
    path: Path,
    environ: Mapping[str, str],
    *,
    cache_dir: Path | None = None,
    validate_options: ValidateOptions | None = None,
) -> Loaded:
    """The configuration in the file at ``path`` with the overrides of ``environ``.

    ``cache_dir`` keeps the result for a restart with the same content; a cache that is missing, foreign or damaged is
    ignored. ``validate_options`` says of each ``use:`` with its ``with:`` what the plugin makes of it.
    Raises ConfigurationError with every problem.
    """
    main = read_source(path, str(path), MAIN_BYTES_MAX)
    if isinstance(main, Problem):
        raise ConfigurationError([main])
    key = LoadKey.of(path, main, fingerprint(environ, PREFIX))
    cache = Cache(cache_dir) if cache_dir is not None else None
    loaded = cache.find(key, path.parent, Loaded) if cache else None
    if loaded is None or not all_readable(loaded.files):
        gathered = gather(main, path, overrides_of(environ))
        loaded = _from_tree(gathered, path)
        if cache:
            cache.keep(key, gathered.patterns, gathered.included, loaded)
    return loaded if validate_options is None else with_options(loaded, validate_options)


def with_options(loaded: Loaded, validate_options: ValidateOptions) -> Loaded:
    """The same configuration with every ``with:`` as its plugin validated it; reads no file again.

    For a caller that needs the configuration to load the plugins first. Raises ConfigurationError with all refusals.
    """
    configuration, problems = check_options(loaded.configuration, loaded.bodies, validate_options)
    if problems:
        raise ConfigurationError(problems)
    return replace(loaded, configuration=configuration)


def _from_tree(gathered: Gathered, path: Path) -> Loaded:
    root = gathered.root
    found = list(gathered.problems)
    if any(problem.path in UNREAD for problem in found):
        # What the unread part would have said is not known: further problems would be guesses.
        raise ConfigurationError([problem for problem in found if problem.severity == "error"])
    directory = path.parent.absolute()
    files = FileCheck(directory)
    model = _cluster_model(root, found)
    cluster = ClusterBuilder(root, files)
    targets = cluster.targets(model)
    declared = root.get("targets")
    unusable = frozenset(declared if isinstance(declared, Block) else ()) - targets.keys()
    routers = cluster.routers(model)
    services = build_services(root, ServiceBuilder(targets, unusable, files, routers).build)
    found.extend(services.problems)
    plugins, trusted = cluster.plugins(model)
    stream = cluster.stream(model.stream)
    configuration = Configuration(
        cluster=model.cluster,
        directory=directory,
        stream=stream,
        targets=MappingProxyType(targets),
        services=MappingProxyType(services.settings),
        http=cluster.http(model.http),
        registries=cluster.registries(model),
        prometheus=cluster.prometheus(model),
        kafka_lags=cluster.kafka_lags(model, stream),
        routers=MappingProxyType(routers),
        budgets=MappingProxyType(cluster.budgets(model, services.settings, services.declared)),
        plugins=plugins,
        trusted_plugins=trusted,
    )
    cluster.check_queries(model, services.declared)
    found.extend(news(found, cluster.problems))
    found.extend(listener_clashes(configuration, services.bodies))
    errors = [problem for problem in found if problem.severity == "error"]
    if errors:
        bodies = services.bodies | {f"?{n}": body for n, (_, body) in enumerate(services.salvaged)}
        parts = services.settings | {f"?{n}": settings for n, (settings, _) in enumerate(services.salvaged)}
        rest = replace(configuration, services=MappingProxyType(parts))
        raise Unfinished(list(dict.fromkeys(errors)), Loaded(rest, (), root, MappingProxyType(bodies)))
    warnings = [*found, *consequences(configuration, root, services.bodies)]
    warnings.sort(key=lambda problem: (problem.path, problem.what))
    configuration = replace(configuration, digest=digest_of(configuration))
    return Loaded(configuration, tuple(dict.fromkeys(warnings)), root, MappingProxyType(services.bodies), files.asked)


def _cluster_model(root: Block, found: list[Problem]) -> ClusterModel:
    """The file without its services; of an invalid one, what is valid of it, so that the rest can be checked too."""
    tree = root
    for key in _SHARED:
        tree = without(tree, key)
    try:
        return ClusterModel.model_validate(tree)
    except ValidationError as error:
        found.extend(validation_problems(error, root, FileModel))
        named = without(tree, "cluster")
        named["cluster"] = "unnamed"
        return salvage(ClusterModel, named) or ClusterModel(cluster="unnamed")
