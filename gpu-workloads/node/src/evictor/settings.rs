//! Thresholds for GPU memory, as the kubelet's flags write them.

use std::collections::BTreeMap;

use plimsoll_eviction::duration::GoDuration;
use plimsoll_eviction::layout::FilesystemLayout;
use plimsoll_eviction::manager::{Manager, ManagerOptions};
use plimsoll_eviction::signal::Signal;
use plimsoll_eviction::threshold::{ThresholdConfiguration, ThresholdError};

/// The name of the signal: bytes of a device's memory that nobody holds.
pub const SIGNAL: &str = "gpu.memory.available";

/// The signal that stands for it in the kubelet's rules.
const STAND_IN: Signal = Signal::MemoryAvailable;

/// The flags, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// `--eviction-hard`, such as `gpu.memory.available<5%`.
    pub hard: String,
    /// `--eviction-soft`, likewise.
    pub soft: String,
    /// `--eviction-soft-grace-period`, such as `gpu.memory.available=1m30s`.
    pub soft_grace_period: String,
    /// `--eviction-minimum-reclaim`, such as `gpu.memory.available=1Gi`.
    pub minimum_reclaim: String,
    /// `--eviction-max-pod-grace-period`, in seconds.
    pub max_pod_grace_period_seconds: i64,
    /// `--eviction-pressure-transition-period`.
    pub pressure_transition_period: GoDuration,
}

/// What the flags come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The kubelet's own rules with these thresholds, for memory.
    pub manager: Manager,
}

/// Flags that the kubelet would refuse, or that name another signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A statement that is none.
    #[error("--{flag}: {statement:?} is no statement: write it as {SIGNAL}{operator}{example}")]
    Statement {
        /// The flag.
        flag: &'static str,
        /// What was written.
        statement: String,
        /// What stands between signal and value.
        operator: char,
        /// A value that would do.
        example: &'static str,
    },
    /// Another signal.
    #[error(
        "--{flag}: {signal:?} is not watched here, only {SIGNAL}; the kubelet watches its own signals itself"
    )]
    Signal {
        /// The flag.
        flag: &'static str,
        /// The signal.
        signal: String,
    },
    /// A value that the kubelet refuses.
    #[error("{}", .0.to_string().replace(STAND_IN.name(), SIGNAL))]
    Threshold(#[from] ThresholdError),
    /// No threshold at all.
    #[error(
        "no threshold: without --eviction-hard or --eviction-soft nothing would ever be evicted (0% and 100% switch one off)"
    )]
    Nothing,
    /// A grace period below zero.
    #[error("--eviction-max-pod-grace-period: {0} is below zero")]
    NegativeGracePeriod(i64),
}

/// A flag's statements, under the name of the signal that stands in. Of several for one signal the last counts. Upstream:
/// `LangleSeparatedMapStringString` and `MapStringString`.
fn statements(
    flag: &'static str,
    text: &str,
    operator: char,
    example: &'static str,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let mut statements = BTreeMap::new();
    for statement in text.split(',').filter(|statement| !statement.is_empty()) {
        let refuse = || SettingsError::Statement { flag, statement: statement.to_owned(), operator, example };
        let (signal, value) = statement.split_once(operator).ok_or_else(refuse)?;
        let (signal, value) = (signal.trim(), value.trim());
        if signal != SIGNAL {
            return Err(SettingsError::Signal { flag, signal: signal.to_owned() });
        }
        statements.insert(STAND_IN.name().to_owned(), value.to_owned());
    }
    Ok(statements)
}

impl Statements {
    /// Reads them.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn read(&self) -> Result<Settings, SettingsError> {
        let hard = statements("eviction-hard", &self.hard, '<', "5%")?;
        let soft = statements("eviction-soft", &self.soft, '<', "10%")?;
        let soft_grace_periods =
            statements("eviction-soft-grace-period", &self.soft_grace_period, '=', "1m30s")?;
        let minimum_reclaims = statements("eviction-minimum-reclaim", &self.minimum_reclaim, '=', "1Gi")?;
        if self.max_pod_grace_period_seconds < 0 {
            return Err(SettingsError::NegativeGracePeriod(self.max_pod_grace_period_seconds));
        }
        let configuration =
            ThresholdConfiguration { hard, soft, soft_grace_periods, minimum_reclaims, enforces_pods: false };
        let thresholds = configuration.parse()?;
        if thresholds.is_empty() {
            return Err(SettingsError::Nothing);
        }
        let options = ManagerOptions {
            layout: FilesystemLayout::Single,
            pressure_transition_period: self.pressure_transition_period,
            max_pod_grace_period_seconds: self.max_pod_grace_period_seconds,
            local_storage_capacity_isolation: false,
        };
        Ok(Settings { manager: Manager::new(&thresholds, options) })
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_eviction::threshold::{Operator, Threshold};

    use super::*;

    fn read(hard: &str, soft: &str, grace: &str, reclaim: &str) -> Result<Settings, String> {
        Statements {
            hard: hard.to_owned(),
            soft: soft.to_owned(),
            soft_grace_period: grace.to_owned(),
            minimum_reclaim: reclaim.to_owned(),
            ..Statements::default()
        }
        .read()
        .map_err(|error| error.to_string())
    }

    #[test]
    fn thresholds_are_written_as_the_kubelet_writes_them() {
        let settings = read(
            "gpu.memory.available<25%",
            "gpu.memory.available < 2Gi",
            "gpu.memory.available=1m30s",
            "gpu.memory.available=1Gi",
        )
        .expect("settings");
        // The kubelet's rules put placeholders for containerfs in, which are never met.
        let met = |threshold: &&Threshold| threshold.operator == Operator::LessThan;
        let thresholds: Vec<&Threshold> = settings.manager.thresholds().iter().filter(met).collect();
        assert_eq!(thresholds.len(), 2, "no other signal comes along");
        assert!(thresholds[0].is_hard() && !thresholds[1].is_hard());
        assert_eq!(thresholds[0].resolve(100 << 30, false).to_string(), "25Gi");
        assert_eq!(thresholds[0].resolve(100 << 30, true).to_string(), "26Gi");
        assert_eq!(thresholds[1].grace_period.to_string(), "1m30s");
    }

    #[test]
    fn what_is_refused_names_the_flag_or_the_signal() {
        for ((hard, soft, grace, reclaim), message) in [
            (
                ("gpu.memory.available>5%", "", "", ""),
                "--eviction-hard: \"gpu.memory.available>5%\" is no statement",
            ),
            (("memory.available<5%", "", "", ""), "only gpu.memory.available"),
            (("gpu.memory.available<5x", "", "", ""), "quantities must match"),
            (("gpu.memory.available<-1%", "", "", ""), "threshold gpu.memory.available must be >= 0%"),
            (("", "gpu.memory.available<5%", "", ""), "soft eviction threshold gpu.memory.available"),
            (
                ("gpu.memory.available<5%", "", "", "gpu.memory.available=-1"),
                "minimum reclaim specified for gpu.memory",
            ),
            (("", "", "", ""), "no threshold"),
            (("gpu.memory.available<0%", "", "", ""), "no threshold"),
        ] {
            let error = read(hard, soft, grace, reclaim).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
        let statements = Statements { max_pod_grace_period_seconds: -1, ..Statements::default() };
        assert_eq!(statements.read(), Err(SettingsError::NegativeGracePeriod(-1)));
    }
}
