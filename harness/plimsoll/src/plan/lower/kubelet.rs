//! What can be known of a kubelet's configuration before a kubelet reads it.
//!
//! The kubelet (1.36) decodes its file strictly first and, where that fails, once more leniently: a misspelt field is
//! a line in its log and nothing else. So what is misspelt is an error here. The rules for thresholds are those of
//! `eviction.ParseThresholdConfig` and `ValidateKubeletConfiguration`.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_eviction::duration::parse_duration;
use plimsoll_eviction::signal::Signal;

use super::context::Findings;
use crate::scenario::format::values::quantity;
use crate::scenario::tree::{Entry, Mark, Node, Tree, shortened};
use crate::scenario::{Code, Located, nearest};

/// The kubelet's own hard memory threshold: 100Mi. Upstream: `DefaultEvictionHard`.
const DEFAULT_MEMORY_THRESHOLD: u64 = 100 << 20;
/// How long a condition stays, unless a configuration says otherwise.
const DEFAULT_TRANSITION: Duration = Duration::from_secs(300);

/// Fields of KubeletConfiguration, kubelet.config.k8s.io/v1beta1, Kubernetes 1.36.
const FIELDS: &str = "enableServer staticPodPath podLogsDir syncFrequency fileCheckFrequency httpCheckFrequency staticPodURL \
    staticPodURLHeader address port readOnlyPort tlsCertFile tlsPrivateKeyFile tlsCipherSuites tlsCurvePreferences tlsMinVersion \
    rotateCertificates serverTLSBootstrap authentication authorization registryPullQPS registryBurst \
    imagePullCredentialsVerificationPolicy preloadedImagesVerificationAllowlist eventRecordQPS eventBurst enableDebuggingHandlers \
    enableContentionProfiling healthzPort healthzBindAddress oomScoreAdj clusterDomain clusterDNS streamingConnectionIdleTimeout \
    nodeStatusUpdateFrequency nodeStatusReportFrequency nodeLeaseDurationSeconds imageMinimumGCAge imageMaximumGCAge \
    imageGCHighThresholdPercent imageGCLowThresholdPercent volumeStatsAggPeriod kubeletCgroups systemCgroups cgroupRoot \
    cgroupsPerQOS cgroupDriver cpuManagerPolicy singleProcessOOMKill cpuManagerPolicyOptions cpuManagerReconcilePeriod \
    memoryManagerPolicy topologyManagerPolicy topologyManagerScope topologyManagerPolicyOptions qosReserved runtimeRequestTimeout \
    hairpinMode maxPods podCIDR podPidsLimit resolvConf runOnce cpuCFSQuota cpuCFSQuotaPeriod nodeStatusMaxImages maxOpenFiles \
    contentType kubeAPIQPS kubeAPIBurst serializeImagePulls maxParallelImagePulls evictionHard evictionSoft evictionSoftGracePeriod \
    evictionPressureTransitionPeriod evictionMaxPodGracePeriod evictionMinimumReclaim mergeDefaultEvictionSettings podsPerCore \
    enableControllerAttachDetach protectKernelDefaults makeIPTablesUtilChains iptablesMasqueradeBit iptablesDropBit featureGates \
    failSwapOn memorySwap containerLogMaxSize containerLogMaxFiles containerLogMaxWorkers containerLogMonitorInterval \
    configMapAndSecretChangeDetectionStrategy systemReserved kubeReserved reservedSystemCPUs showHiddenMetricsForVersion \
    systemReservedCgroup kubeReservedCgroup enforceNodeAllocatable allowedUnsafeSysctls volumePluginDir providerID \
    kernelMemcgNotification logging enableSystemLogHandler enableSystemLogQuery shutdownGracePeriod \
    shutdownGracePeriodCriticalPods shutdownGracePeriodByPodPriority crashLoopBackOff reservedMemory enableProfilingHandler \
    enableDebugFlagsHandler seccompDefault memoryThrottlingFactor memoryReservationPolicy registerWithTaints registerNode tracing \
    localStorageCapacityIsolation containerRuntimeEndpoint imageServiceEndpoint failCgroupV1 userNamespaces apiVersion kind";

/// The names of the fields that a KubeletConfiguration has.
pub(crate) fn kubelet_configuration_fields() -> impl Iterator<Item = &'static str> {
    FIELDS.split_whitespace()
}

/// Fields that the node needs for itself, and who sets them.
const RESERVED: &[(&str, &str)] = &[
    ("containerRuntimeEndpoint", "the node runs its own container runtime"),
    ("imageServiceEndpoint", "the node runs its own container runtime"),
    ("cgroupRoot", "the node lives in a control group of its own"),
    ("registerWithTaints", "write taints under `taints:` of the node"),
];

/// Where a threshold lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// At so many bytes or so many of them.
    Value(u64),
    /// At so many percent of what there is.
    Share(f64),
}

impl Level {
    /// In bytes or counts, of so many that there are in all.
    #[must_use]
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Value(value) => value,
            Self::Share(percent) => share(capacity, percent),
        }
    }
}

/// A threshold of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Where it lies.
    pub level: Level,
    /// For a soft threshold: how long it must be crossed.
    pub grace: Option<Duration>,
    /// Where it is written; for one of the kubelet's own defaults, where the node is.
    pub mark: Mark,
    /// Whether it is one of the kubelet's own defaults.
    pub default: bool,
}

/// What a kubelet acts on.
#[derive(Debug, Clone, Default)]
pub struct Thresholds {
    /// Hard thresholds by signal.
    pub hard: BTreeMap<Signal, Threshold>,
    /// Soft thresholds by signal.
    pub soft: BTreeMap<Signal, Threshold>,
    /// What must come free beyond a threshold.
    pub minimum_reclaim: BTreeMap<Signal, Level>,
    /// Memory kept from pods: kubeReserved and systemReserved together, in bytes.
    pub reserved_memory: u64,
    /// How long a condition stays after its cause is gone.
    pub transition: Duration,
    /// Whether the pods together are held to what is allocatable.
    pub enforces_pods: bool,
    /// The kubelet's configuration, or the node where it has none.
    pub mark: Mark,
}

impl Threshold {
    /// In bytes or counts; none where it is a share of something that only the running node knows.
    #[must_use]
    pub fn value(&self) -> Option<u64> {
        match self.level {
            Level::Value(value) => Some(value),
            Level::Share(_) => None,
        }
    }
}

impl Thresholds {
    /// What a kubelet does that is told nothing.
    pub(super) fn of_defaults(memory: u64, mark: Mark) -> Self {
        let hard = default_hard(memory, mark);
        Self { hard, enforces_pods: true, transition: DEFAULT_TRANSITION, mark, ..Self::default() }
    }

    /// The larger of the hard and the soft threshold of memory, in bytes: where anything begins to happen.
    #[must_use]
    pub fn first_memory(&self) -> Option<u64> {
        [&self.hard, &self.soft].iter().filter_map(|map| map.get(&Signal::MemoryAvailable)?.value()).max()
    }

    /// The hard threshold of memory, in bytes.
    #[must_use]
    pub fn hard_memory(&self) -> Option<u64> {
        self.hard.get(&Signal::MemoryAvailable)?.value()
    }
}

fn default_hard(memory: u64, mark: Mark) -> BTreeMap<Signal, Threshold> {
    let levels = [
        (Signal::MemoryAvailable, Level::Value(DEFAULT_MEMORY_THRESHOLD.min(memory))),
        (Signal::NodeFsAvailable, Level::Share(10.0)),
        (Signal::NodeFsInodesFree, Level::Share(5.0)),
        (Signal::ImageFsAvailable, Level::Share(15.0)),
        (Signal::ImageFsInodesFree, Level::Share(5.0)),
    ];
    levels
        .into_iter()
        .map(|(signal, level)| (signal, Threshold { level, grace: None, mark, default: true }))
        .collect()
}

/// Checks a kubelet's configuration and says what it acts on.
pub(super) fn check(kubelet: &Located<Tree>, memory: u64, pids: u64, findings: &mut Findings) -> Thresholds {
    let known: Vec<&str> = kubelet_configuration_fields().collect();
    for entry in kubelet.entries() {
        check_field(entry, &known, findings);
    }
    let map = |field: &str| kubelet.get(field).map(Tree::entries).unwrap_or_default();
    let mark = kubelet.key;
    let transition = kubelet.get("evictionPressureTransitionPeriod").and_then(Tree::text).map(parse_duration);
    let mut thresholds = Thresholds {
        mark,
        enforces_pods: enforces_pods(kubelet),
        // The kubelet takes a period of zero for one that was not given.
        transition: transition
            .and_then(Result::ok)
            .filter(|period| !period.is_zero())
            .unwrap_or(DEFAULT_TRANSITION),
        ..Thresholds::default()
    };
    thresholds.hard = statements(kubelet, "evictionHard", memory, pids, findings);
    let merges =
        matches!(kubelet.get("mergeDefaultEvictionSettings").map(|tree| &tree.node), Some(Node::Bool(true)));
    if kubelet.get("evictionHard").is_none_or(|hard| hard.entries().is_empty()) {
        thresholds.hard = default_hard(memory, mark);
    } else if merges {
        for (signal, threshold) in default_hard(memory, mark) {
            if !map("evictionHard").iter().any(|entry| entry.key == signal.name()) {
                thresholds.hard.insert(signal, threshold);
            }
        }
    }
    thresholds.soft = statements(kubelet, "evictionSoft", memory, pids, findings);
    grace_periods(kubelet, &mut thresholds, findings);
    for entry in map("evictionMinimumReclaim") {
        let Some(signal) = signal(entry, "evictionMinimumReclaim", findings) else { continue };
        if let Some(level) = level(entry, signal, memory, findings) {
            if !thresholds.hard.contains_key(&signal) && !thresholds.soft.contains_key(&signal) {
                let message = format!(
                    "a minimum reclaim for {signal}, which has no threshold: nothing is ever reclaimed for it"
                );
                findings.say(Code::E0018, entry.key_mark, message);
            }
            thresholds.minimum_reclaim.insert(signal, level);
        }
    }
    thresholds.reserved_memory = ["kubeReserved", "systemReserved"]
        .iter()
        .flat_map(|field| map(field))
        .filter(|entry| entry.key == "memory")
        .filter_map(|entry| quantity(&entry.value.scalar()?).ok())
        .fold(0, |sum: u64, quantity| sum.saturating_add(u64::try_from(quantity.value()).unwrap_or(0)));
    check_reserved(kubelet, &thresholds, memory, findings);
    check_order(&thresholds, findings);
    thresholds
}

fn enforces_pods(kubelet: &Tree) -> bool {
    kubelet
        .get("enforceNodeAllocatable")
        .is_none_or(|enforced| enforced.elements().iter().any(|element| element.text() == Some("pods")))
}

/// What a field must be, where it is one that scenarios use.
fn check_field(entry: &Entry, known: &[&str], findings: &mut Findings) {
    let key = entry.key.as_str();
    if let Some((_, why)) = RESERVED.iter().find(|(field, _)| *field == key) {
        findings.say_with_help(
            Code::E0016,
            entry.key_mark,
            format!("`{key}` can not be set by a scenario"),
            *why,
        );
        return;
    }
    if !known.contains(&key) {
        let message =
            format!("KubeletConfiguration has no field `{}`; the kubelet would ignore it", shortened(key));
        match nearest(key, known.iter().copied()) {
            Some(near) => findings.say_with_help(
                Code::E0016,
                entry.key_mark,
                message,
                format!("did you mean `{near}`?"),
            ),
            None => findings.say(Code::E0016, entry.key_mark, message),
        }
        return;
    }
    let value = &entry.value;
    let wrong_kind = |expected: &str, findings: &mut Findings| {
        findings.say(
            Code::E0016,
            value.mark,
            format!("`{key}` must be {expected}, found {}", value.in_words()),
        );
    };
    match key {
        "apiVersion" if value.text() != Some("kubelet.config.k8s.io/v1beta1") => {
            wrong_kind("kubelet.config.k8s.io/v1beta1", findings)
        }
        "kind" if value.text() != Some("KubeletConfiguration") => {
            wrong_kind("KubeletConfiguration", findings)
        }
        "evictionHard"
        | "evictionSoft"
        | "evictionSoftGracePeriod"
        | "evictionMinimumReclaim"
        | "kubeReserved"
        | "systemReserved"
            if !matches!(value.node, Node::Mapping(_)) =>
        {
            wrong_kind("a mapping", findings);
        }
        "evictionHard"
        | "evictionSoft"
        | "evictionSoftGracePeriod"
        | "evictionMinimumReclaim"
        | "kubeReserved"
        | "systemReserved" => {
            // Go reads a mapping of texts, and no kubelet starts with a number in it.
            for number in value.entries().iter().filter(|own| matches!(own.value.node, Node::Integer(_))) {
                findings.say_with_help(
                    Code::E0016,
                    number.value.mark,
                    format!("`{key}` takes texts: the kubelet refuses {}", number.value.in_words()),
                    "put it in quotes",
                );
            }
        }
        "evictionPressureTransitionPeriod"
        | "syncFrequency"
        | "nodeStatusUpdateFrequency"
        | "nodeStatusReportFrequency"
        | "imageMinimumGCAge"
        | "imageMaximumGCAge"
        | "volumeStatsAggPeriod" => match value.text() {
            Some(text) => {
                if let Err(error) = parse_duration(text) {
                    findings.say(Code::E0016, value.mark, format!("`{key}`: {error}"));
                }
            }
            None => wrong_kind("a duration such as 30s", findings),
        },
        "evictionMaxPodGracePeriod" => match value.node {
            Node::Integer(seconds) if seconds < 0 => findings.say(
                Code::W0006,
                value.mark,
                "a negative evictionMaxPodGracePeriod gives pods about 1s, not their own grace period",
            ),
            Node::Integer(_) => {}
            _ => wrong_kind("a whole number of seconds", findings),
        },
        "enforceNodeAllocatable" => check_enforced(value, findings),
        "mergeDefaultEvictionSettings" if !matches!(value.node, Node::Bool(_)) => {
            wrong_kind("true or false", findings)
        }
        _ => {}
    }
}

fn check_enforced(value: &Tree, findings: &mut Findings) {
    const WORDS: [&str; 6] = [
        "none",
        "pods",
        "system-reserved",
        "system-reserved-compressible",
        "kube-reserved",
        "kube-reserved-compressible",
    ];
    if !matches!(value.node, Node::List(_)) {
        findings.say(
            Code::E0016,
            value.mark,
            format!("`enforceNodeAllocatable` must be a list, found {}", value.in_words()),
        );
    }
    for element in value.elements() {
        let word = element.text().unwrap_or_default();
        if !WORDS.contains(&word) {
            let message =
                format!("`enforceNodeAllocatable` takes {}; found {}", WORDS.join(", "), element.in_words());
            findings.say(Code::E0016, element.mark, message);
        } else if word == "none" && value.elements().len() > 1 {
            findings.say(
                Code::E0016,
                element.mark,
                "`none` can not stand beside other words of enforceNodeAllocatable",
            );
        }
    }
}

/// The signal that a key names. Upstream: `parseThresholdStatement`.
fn signal(entry: &Entry, field: &str, findings: &mut Findings) -> Option<Signal> {
    match entry.key.parse::<Signal>() {
        Ok(Signal::AllocatableMemoryAvailable) => {
            findings.say_with_help(
                Code::E0016,
                entry.key_mark,
                format!("`{field}` does not take allocatableMemory.available"),
                "the kubelet copies the hard threshold of memory.available to it where `pods` is enforced",
            );
            None
        }
        Ok(signal) => Some(signal),
        Err(_) => {
            let message = format!(
                "`{}` in `{field}` is no eviction signal; the kubelet would not start",
                shortened(&entry.key)
            );
            let names: Vec<&str> = Signal::ALL.iter().map(|signal| signal.name()).collect();
            let help = match nearest(&entry.key, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("signals are {}", names.join(", ")),
            };
            findings.say_with_help(Code::E0016, entry.key_mark, message, help);
            None
        }
    }
}

/// A threshold's or reclaim's level; none where it is wrong, and that is said.
fn level(entry: &Entry, signal: Signal, memory: u64, findings: &mut Findings) -> Option<Level> {
    let value = &entry.value;
    let Some(text) = value.scalar() else {
        let message =
            format!("expected a quantity such as 400Mi or a percentage, found {}", value.in_words());
        findings.say(Code::E0016, value.mark, message);
        return None;
    };
    if let Some(number) = text.strip_suffix('%') {
        return match number.parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Some(if signal == Signal::MemoryAvailable {
                Level::Value(share(memory, percent))
            } else {
                Level::Share(percent)
            }),
            Ok(_) => {
                findings.say(
                    Code::E0016,
                    value.mark,
                    format!("{:?} is outside 0% to 100%", shortened(&text)),
                );
                None
            }
            Err(_) => {
                findings.say(
                    Code::E0016,
                    value.mark,
                    format!("{:?} is no percentage: expected one such as 10%", shortened(&text)),
                );
                None
            }
        };
    }
    match quantity(&text) {
        Ok(quantity) if quantity.sign().is_lt() => {
            findings.say(Code::E0016, value.mark, format!("{text} is negative; the kubelet would not start"));
            None
        }
        Ok(quantity) => Some(Level::Value(u64::try_from(quantity.value()).unwrap_or(0))),
        Err(why) => {
            say_two_lines(value.mark, &why, findings);
            None
        }
    }
}

/// Says a sentence whose second line, if it has one, is help.
fn say_two_lines(mark: Mark, why: &str, findings: &mut Findings) {
    match why.split_once('\n') {
        Some((message, help)) => findings.say_with_help(Code::E0016, mark, message, help),
        None => findings.say(Code::E0016, mark, why),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "upstream takes the share in 32-bit floating point; a byte more or less decides nothing here"
)]
fn share(memory: u64, percent: f64) -> u64 {
    (memory as f64 * percent / 100.0) as u64
}

/// The thresholds of one field. Upstream: `parseThresholdStatements`.
fn statements(
    kubelet: &Tree,
    field: &str,
    memory: u64,
    pids: u64,
    findings: &mut Findings,
) -> BTreeMap<Signal, Threshold> {
    let mut thresholds = BTreeMap::new();
    for entry in kubelet.get(field).map(Tree::entries).unwrap_or_default() {
        let Some(signal) = signal(entry, field, findings) else { continue };
        let text = entry.value.scalar().unwrap_or_default();
        if text == "0%" || text == "100%" {
            let message = format!("{text} switches {signal} off: this threshold never fires");
            findings.say_with_help(
                Code::W0006,
                entry.value.mark,
                message,
                "leave it out if that is meant: a map of thresholds replaces all defaults",
            );
            continue;
        }
        let Some(level) = level(entry, signal, memory, findings) else { continue };
        if level == Level::Value(0) {
            findings.say(
                Code::E0016,
                entry.value.mark,
                format!("a threshold of 0 for {signal}; the kubelet would not start"),
            );
            continue;
        }
        if matches!(signal, Signal::ContainerFsAvailable | Signal::ContainerFsInodesFree) {
            let message = format!("the kubelet overwrites {signal} with the threshold of nodefs or imagefs");
            findings.say(Code::W0006, entry.key_mark, message);
        }
        let whole = match signal {
            Signal::MemoryAvailable => Some((memory, "memory")),
            Signal::PidAvailable => Some((pids, "process ids")),
            _ => None,
        };
        if let Some((_, what)) = whole.filter(|(all, _)| level.of(*all) >= *all) {
            let message = format!(
                "{text} is all the {what} of the node: the threshold is crossed before anything starts"
            );
            findings.say(Code::E0018, entry.value.mark, message);
        }
        thresholds.insert(signal, Threshold { level, grace: None, mark: entry.key_mark, default: false });
    }
    thresholds
}

/// Gives soft thresholds their grace periods. Upstream: `ParseThresholdConfig`, `parseGracePeriods`.
fn grace_periods(kubelet: &Tree, thresholds: &mut Thresholds, findings: &mut Findings) {
    for entry in kubelet.get("evictionSoftGracePeriod").map(Tree::entries).unwrap_or_default() {
        let Some(signal) = signal(entry, "evictionSoftGracePeriod", findings) else { continue };
        let text = entry.value.scalar().unwrap_or_default();
        let grace = match parse_duration(&text) {
            Ok(grace) => grace,
            Err(error) => {
                findings.say(Code::E0016, entry.value.mark, format!("a grace period: {error}"));
                Duration::ZERO
            }
        };
        match thresholds.soft.get_mut(&signal) {
            Some(threshold) => threshold.grace = Some(grace),
            None => findings.say_with_help(
                Code::W0006,
                entry.key_mark,
                format!("a grace period for {signal}, which has no soft threshold"),
                "add it under `evictionSoft`",
            ),
        }
    }
    for (signal, threshold) in thresholds.soft.iter().filter(|(_, threshold)| threshold.grace.is_none()) {
        let message =
            format!("the soft threshold of {signal} has no grace period; the kubelet would not start");
        findings.say_with_help(
            Code::E0016,
            threshold.mark,
            message,
            format!("add `evictionSoftGracePeriod: {{{signal}: 30s}}`"),
        );
    }
}

/// Reservations that leave nothing, or that the kubelet refuses.
fn check_reserved(kubelet: &Tree, thresholds: &Thresholds, memory: u64, findings: &mut Findings) {
    for field in ["kubeReserved", "systemReserved"] {
        for entry in kubelet.get(field).map(Tree::entries).unwrap_or_default() {
            let text = entry.value.scalar().unwrap_or_default();
            match quantity(&text) {
                Ok(quantity) if quantity.sign().is_lt() => {
                    findings.say(
                        Code::E0016,
                        entry.value.mark,
                        format!("{text} is negative; the kubelet would not start"),
                    );
                }
                Ok(_) => {}
                Err(why) => say_two_lines(entry.value.mark, &why, findings),
            }
        }
    }
    let kept = thresholds.reserved_memory.saturating_add(thresholds.hard_memory().unwrap_or(0));
    if thresholds.reserved_memory > 0 && kept >= memory {
        findings.say(
            Code::E0018,
            thresholds.mark,
            "reserved memory and hard threshold together leave pods no memory at all",
        );
    }
}

/// A soft threshold below its hard one never gets to decide.
fn check_order(thresholds: &Thresholds, findings: &mut Findings) {
    for (signal, soft) in &thresholds.soft {
        let Some(hard) = thresholds.hard.get(signal).filter(|hard| !hard.default) else { continue };
        if let (Some(soft_value), Some(hard_value)) = (soft.value(), hard.value())
            && soft_value <= hard_value
        {
            let message =
                format!("the soft threshold of {signal} is not above its hard one: it never gets to decide");
            findings.say(Code::E0018, soft.mark, message);
        }
    }
}
