"""The configuration file as strict pydantic models: its keys, their types and bounds, one model a block.

`loading` validates with them, `schema` prints them, `vocabulary` looks keys up in them. They live only until the frozen
settings are built. A service's body has no required key here, because `defaults` and templates complete it later.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from autoscaler.configuration.budget_models import BUDGETS_MAX, BudgetModel
from autoscaler.configuration.configured_revision import Capability, ConfiguredRevisionModel, Device
from autoscaler.configuration.fields import (
    Address,
    Broker,
    ByteSize,
    Count,
    Cpu,
    Duration,
    FileName,
    HttpUrl,
    Money,
    Name,
    Percent,
    PositiveDuration,
    Share,
    Text,
)
from autoscaler.configuration.host_models import HostModel
from autoscaler.configuration.placement_models import PlacementModel
from autoscaler.configuration.planned_models import PlannedModel
from autoscaler.configuration.signal_models import Signals
from autoscaler.configuration.strict import BY_FORM, AsMapping, AsText, Strict, UseModel
from autoscaler.core.settings import PRIORITY
from autoscaler.events.forms import METRIC_NAME, MOUNT

SERVICES_MAX = 100_000


TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
METRIC_CHARS_MAX = 100
"""Room for the suffixes of the companions of a lag."""


class SecurityModel(Strict):
    """How to speak to the brokers; secrets by file only."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None = None
    """Default: SASL_SSL with a username, SSL with a ca_file or cert_file alone, else PLAINTEXT."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: Text = ""
    password_file: FileName | None = None
    ca_file: FileName | None = None
    cert_file: FileName | None = None
    key_file: FileName | None = None


class StreamModel(Strict):
    """The stream that carries events, state and audit."""

    kind: Literal["kafka", "embedded"] | None = None
    """Default: kafka where brokers are given, else embedded."""
    brokers: list[Broker] = []
    path: FileName | None = None
    """The embedded stream's file; default ./autoscaler.db."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "autoscaler"
    """Topics are named <prefix>.metrics, .deployments, .control, .state, .audit and .dlq."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 12
    replication: Literal["auto"] | Annotated[int, Field(ge=1, le=16)] = "auto"
    """auto = min(3, brokers)."""
    member: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "auto"
    """This member's static id; auto = host name and the lowest free number on this machine."""
    session_timeout: PositiveDuration = 30.0
    security: SecurityModel = SecurityModel()


class HttpModel(Strict):
    """Where `run` listens for probes, metrics and the API."""

    listen: Annotated[Address, Field(validate_default=True)] = "127.0.0.1:9180"  # type: ignore[assignment]
    cert_file: FileName | None = None
    key_file: FileName | None = None


class RegistryModel(Strict):
    """Credentials of one image registry."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:\[\]-]{1,255}$")]
    username: Text = ""
    password_file: FileName | None = None


class TargetModel(Strict):
    """What runs replicas: a pool of Docker engines, or processes of this machine."""

    kind: Literal["docker", "process"]
    hosts: list[HostModel] = []
    dir: FileName | None = None
    """Pid records and logs of a process target; default .autoscaler/ beside the file."""
    prune: PositiveDuration | None = None
    """How often images that no kept revision needs are removed from the hosts; default never."""


class PrometheusModel(Strict):
    """One Prometheus server to poll: service -> metric -> PromQL."""

    url: HttpUrl
    every: PositiveDuration
    timeout: PositiveDuration = 2.0
    queries: dict[str, dict[str, Annotated[str, Field(min_length=1, max_length=16384)]]]


class KafkaLagModel(Strict):
    """A consumer group whose lag is polled as metric ``name`` of the service whose replicas are its consumers."""

    group: Annotated[str, Field(min_length=1, max_length=255)]
    topics: Annotated[list[TopicName], Field(min_length=1)]
    service: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(pattern=METRIC_NAME, max_length=METRIC_CHARS_MAX)] = "lag"
    """Also published: <name>_partitions and <name>_partitions_with_lag, both 0 while the lag is."""
    every: PositiveDuration
    timeout: PositiveDuration = 5.0
    offset_reset: Literal["latest", "earliest"] = "latest"
    """Of a partition with nothing committed: latest = a lag of 1, earliest = all that it holds."""
    exclude_persistent_lag: PositiveDuration | None = None
    """A partition whose committed offset has not moved for so long does not count, but keeps a first replica."""
    brokers: list[Broker] = []
    """Default: the stream's, with its security."""
    security: SecurityModel = SecurityModel()


class MetricsModel(Strict):
    """Sources that are polled for metrics."""

    prometheus: list[PrometheusModel] = []
    kafka: list[KafkaLagModel] = []


class ReplicasModel(Strict):
    """Replica bounds; ``initial`` counts once, when the first revision is accepted."""

    min: Count = 0
    max: Count = 10
    initial: Count | None = None


class ScalingModel(Strict):
    """How proposals become demand."""

    down_window: Duration = 300.0
    up_window: Duration = 0.0
    up_cooldown: Duration = 0.0
    down_cooldown: Duration = 0.0
    idle: Duration = 900.0
    max_age: PositiveDuration = 60.0
    combine: Literal["max", "min", "priority", "quorum"] = "max"
    """The highest wish, the lowest, that of the first policy that knows, or the highest that `quorum` of them share."""
    quorum: Annotated[int, Field(ge=1, le=64)] | None = None
    """How many policies have to wish at least so much; default: more than half of those that scale."""
    down_while_unproven: bool = False
    """Scale down also from a deployment's acceptance to the end of its soak, and on the way back."""


class StepModel(Strict):
    """At most ``by`` replicas within any ``per``."""

    by: Share
    per: PositiveDuration


class PolicyModel(UseModel):
    """A policy at work in a service."""

    shadow: bool = False
    """It is asked like the others and acts on nothing; metrics, `status` and `explain` say where it disagrees."""


class GuardsModel(Strict):
    """Limits on proposals; none by default."""

    max_step_up: StepModel | None = None
    max_step_down: StepModel | None = None
    freeze: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=64)] = []
    """Weekly windows such as Fri 17:00-Mon 07:00 Europe/Berlin."""
    plugins: Annotated[list[UseModel], Field(max_length=32)] = []


class RestartModel(Strict):
    """How often a replica that ended is started again where it was, before it moves."""

    attempts: Annotated[int, Field(ge=0, le=100)] = 2
    window: PositiveDuration = 600.0
    delay: Duration = 5.0


class CanaryStepModel(Strict):
    """How far a new revision goes before it is judged; exactly one of weight and count."""

    weight: Percent | None = None
    """Percent of the requests where a router or proxy routes, else of the replicas."""
    count: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many replicas beside the demand."""
    pause: Duration | Literal["until promote"] = 0.0
    """How long the step lasts at least; until promote: until `promote`, `resume` or `abort`."""


class UpdateModel(Strict):
    """How a revision replaces another. Unset keys give way to set ones."""

    strategy: Literal["rolling", "canary", "blue_green"] = "rolling"
    steps: Annotated[list[CanaryStepModel], Field(max_length=50)] = []
    """Of a canary, in order; of blue_green at most one: the preview, the whole demand where there is none."""
    fast_window: Annotated[int, Field(ge=0, le=100)] = 2
    """Content of a stable revision with fewer than so many between it and the present stable one needs no steps."""
    order: Literal["auto", "start_first", "stop_first"] = "auto"
    max_surge: Share | None = None
    max_unavailable: Share | None = None
    first_batch: Annotated[int, Field(ge=1, le=10_000)] = 1
    max_parallel: Count | None = None
    min_healthy: Duration | None = None
    startup_deadline: PositiveDuration | None = None
    deadline: PositiveDuration | None = None
    monitor: Duration | None = None
    soak: Duration | None = None
    failure_ratio: Percent = 0
    rollback: bool | None = None
    on_failure: Literal["rollback", "hold", "continue"] | None = None
    on_rollback_failure: Literal["hold", "continue"] = "hold"
    rollback_max_surge: Share | None = None
    analysis_patience: PositiveDuration = 900.0
    drain_timeout: Duration = 30.0
    stop_deadline: PositiveDuration = 60.0
    restart: RestartModel = RestartModel()
    rollbacks_per_hour: Annotated[int, Field(ge=0, le=1000)] = 3
    history: Annotated[int, Field(ge=2, le=100)] = 10


class AllowModel(Strict):
    """What a revision may take of its host beyond an isolated container; nothing by default."""

    privileged: bool = False
    engine_socket: bool = False
    """Mounts through which the engine can be reached: its socket, its data, or a directory above them."""
    namespaces: Annotated[list[Literal["network", "pid", "ipc"]], Field(max_length=3)] = []
    """Namespaces of the host that may be shared."""
    mounts: Annotated[list[Annotated[str, Field(pattern=MOUNT, max_length=1024)]], Field(max_length=64)] = []
    """Host paths that volumes may name, with all below them; read-only where written with :ro."""
    capabilities: Annotated[list[Capability], Field(max_length=64)] = []
    devices: Annotated[list[Device], Field(max_length=64)] = []
    cpu: Cpu = 0
    """The most that one replica may have; 0 = no ceiling. With one, every revision must say what it needs."""
    memory: ByteSize = 0


class RouterModel(Strict):
    """A HAProxy that carries services' requests."""

    kind: Literal["haproxy"]
    socket: Annotated[str, Field(pattern=r"^(/[^\s]{1,106}|[A-Za-z0-9._:\[\]-]{1,253}:[0-9]{1,5})$")] | None = None
    """The stats socket (level admin) of a HAProxy that runs already: an absolute path, or host:port."""
    dir: FileName | None = None
    """Where one that is started by the autoscaler keeps its configuration and sockets; default .autoscaler/<name>."""
    program: FileName | None = None
    """The program to start; default haproxy."""
    activator: Annotated[str, Field(pattern=r"^[0-9A-Fa-f.:]{2,45}$")] = "127.0.0.1"
    """This machine's address as HAProxy reaches it: requests for a service at zero are held there."""


class RouteModel(Strict):
    """What carries the service's requests to the revision's port of that name."""

    listen: Address | None = None
    """Where clients come; not for a HAProxy that runs already, whose own configuration says it."""
    port: Annotated[str, Field(max_length=32)] = ""
    router: Name | None = None
    """One of `routers`; default: the embedded one."""
    backend: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")] | None = None
    """The backend of a HAProxy that runs already; default: the service's name."""
    hold: Annotated[int, Field(ge=0, le=10_000)] = 100
    """So many requests wait for the first replica of a service that has none, and bring it up from zero; 0: none."""
    hold_for: PositiveDuration = 30.0
    """How long one waits before it is answered 503."""


class ServiceModel(Strict):
    """A service's body, as `services`, `templates` and `defaults` hold it."""

    target: Text | None = None
    priority: Annotated[int, Field(ge=0, le=100)] = PRIORITY
    """Where the pool is full, services of a priority lower by 10 or more give way, down to their `replicas.min`."""
    cost_per_hour: Money | None = None
    """What one replica costs, for budgets; default: by the prices of the budget."""
    replicas: ReplicasModel = ReplicasModel()
    policies: Annotated[list[PolicyModel], Field(max_length=64)] = []
    scaling: ScalingModel = ScalingModel()
    signals: Signals = {}
    """Signals with an age or a stand-in of their own, by name."""
    overrides: Annotated[list[PlannedModel], Field(max_length=64)] = []
    """Windows in which the demand is fixed, or held within narrower bounds."""
    guards: GuardsModel = GuardsModel()
    update: UpdateModel = UpdateModel()
    placement: PlacementModel = PlacementModel()
    images: Annotated[list[Text], Field(max_length=256)] = []
    commands: Annotated[list[Text], Field(max_length=256)] = []
    event_env: Annotated[list[Text], Field(max_length=256)] = []
    allow: AllowModel = AllowModel()
    revision: ConfiguredRevisionModel | None = None
    route: RouteModel | None = None


class ServiceEntry(ServiceModel):
    """A service: a body, or the name of a template and what it overrides."""

    template: Text | None = None


class TemplateModel(ServiceModel):
    """A body that many services share; ``names`` may hold ranges such as web-[0000-9999]."""

    names: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=SERVICES_MAX)] = []


class PluginModel(Strict):
    """A plugin file or an installed plugin, perhaps moved into the process."""

    path: FileName | None = None
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    trusted: bool = False


class ClusterModel(Strict):
    """Everything of the file but its services."""

    cluster: Name
    include: list[FileName] = []
    stream: StreamModel = StreamModel()
    http: HttpModel | None = None
    registries: list[RegistryModel] = []
    targets: dict[str, TargetModel] = {}
    routers: dict[str, RouterModel] = {}
    metrics: MetricsModel = MetricsModel()
    budgets: Annotated[dict[str, BudgetModel], Field(max_length=BUDGETS_MAX)] = {}
    """What services may have together."""
    plugins: list[Annotated[AsText[FileName] | AsMapping[PluginModel], BY_FORM]] = []


class FileModel(ClusterModel):
    """The whole file."""

    defaults: ServiceModel = ServiceModel()
    templates: dict[str, TemplateModel] = {}
    services: dict[str, ServiceEntry] = {}
