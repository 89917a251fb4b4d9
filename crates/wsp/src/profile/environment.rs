//! The environment variables of the platform's run tasks: values that win over the profile, and
//! that flags win over.
//!
//! Their names and forms are the platform's (its producer reads them; see
//! `config/platform/profiles/README.md`). Where that producer takes an unreadable value for its
//! default, here it is refused: a rate or a lane that was meant must not silently be another.
//! An empty value counts as unset, as in `${VAR}`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use envelope::EventTime;
use oracle_store::edit_distance;
use replay::{LaneCount, Pace, RateSteps, Speedup};

use super::blocks::CheckpointBackend;
use super::overrides::Overrides;
use super::rate_plan;
use super::secret::Secret;
use super::{OutputList, Profile};
use crate::{Error, ReasonCode};

/// The variables of the environment that are meant for this product, by name.
///
/// ```
/// use wsp::profile::Environment;
///
/// let task = [("WSP_STREAM_SPEEDUP", "60"), ("HOME", "/root")];
/// let environment: Environment = task.into_iter().collect();
/// assert_eq!(environment.platform_run_id(), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Environment {
    values: BTreeMap<String, OsString>,
}

/// The variable that names the platform run.
const PLATFORM_RUN_ID: &str = "PLATFORM_RUN_ID";

/// What the names of this product's variables begin with.
const OURS: &str = "WSP_";

/// What a variable sets: the key of the profile, or the flag, that it stands for.
type Target = &'static str;

/// A variable that has a meaning here.
struct Variable {
    name: &'static str,
    sets: Target,
    apply: fn(&mut Asked<'_>, &str) -> Result<(), String>,
}

/// What variables are applied to.
struct Asked<'a> {
    profile: &'a mut Profile,
    overrides: &'a mut Overrides,
}

/// The variables that have a meaning here; of two that set the same, the later one wins.
const VARIABLES: &[Variable] = &[
    Variable {
        name: "WSP_STREAM_SPEEDUP",
        sets: "policy.stream_speedup",
        apply: |asked, text| {
            let speedup: Speedup = parsed(text, "a number of at least 0")?;
            asked.overrides.pace.get_or_insert(speedup.into());
            Ok(())
        },
    },
    Variable {
        name: "WSP_TRAFFIC_OUTPUT_IDS_REF",
        sets: "policy.traffic_output_ids",
        apply: |asked, text| {
            asked.profile.traffic = Some(OutputList::Ref(text.to_owned()));
            Ok(())
        },
    },
    Variable {
        name: "WSP_TRAFFIC_OUTPUT_IDS",
        sets: "policy.traffic_output_ids",
        apply: |asked, text| {
            asked.profile.traffic = Some(OutputList::Inline(ids(text)));
            Ok(())
        },
    },
    Variable {
        name: "WSP_CONTEXT_OUTPUT_IDS_REF",
        sets: "policy.context_output_ids",
        apply: |asked, text| {
            asked.profile.set_context(OutputList::Ref(text.to_owned()));
            Ok(())
        },
    },
    Variable {
        name: "WSP_CONTEXT_OUTPUT_IDS",
        sets: "policy.context_output_ids",
        apply: |asked, text| {
            asked.profile.set_context(OutputList::Inline(ids(text)));
            Ok(())
        },
    },
    Variable {
        name: "WSP_MAX_EVENTS_PER_OUTPUT",
        sets: "--max-events-per-output",
        apply: |asked, text| {
            let most = at_least_one(text)?;
            let bounds = &mut asked.overrides.bounds;
            bounds.events_per_output.get_or_insert(most);
            Ok(())
        },
    },
    Variable {
        name: "WSP_CHECKPOINT_BACKEND",
        sets: "wiring.wsp_checkpoint.backend",
        apply: |asked, text| {
            let names = "file, sqlite, postgres or object";
            asked.profile.checkpoint.backend = match text {
                "file" => CheckpointBackend::File,
                "sqlite" => CheckpointBackend::Sqlite,
                "postgres" => CheckpointBackend::Postgres,
                "object" => CheckpointBackend::Object,
                _ => return Err(not(text, names)),
            };
            Ok(())
        },
    },
    Variable {
        name: "WSP_CHECKPOINT_ROOT",
        sets: "wiring.wsp_checkpoint.root",
        apply: |asked, text| {
            text.clone_into(&mut asked.profile.checkpoint.root);
            Ok(())
        },
    },
    Variable {
        name: "WSP_CHECKPOINT_DSN",
        sets: "wiring.wsp_checkpoint.dsn",
        apply: |asked, text| {
            asked.profile.checkpoint.dsn = Some(Secret::new(text.to_owned()));
            Ok(())
        },
    },
    Variable {
        name: "WSP_CHECKPOINT_ATTEMPT_ID",
        sets: "wiring.wsp_checkpoint.attempt_id",
        apply: |asked, text| {
            text.clone_into(&mut asked.profile.checkpoint.attempt_id);
            Ok(())
        },
    },
    Variable {
        name: "WSP_CHECKPOINT_FLUSH_EVERY",
        sets: "wiring.wsp_checkpoint.flush_every",
        apply: |asked, text| {
            asked.profile.checkpoint.flush_every = at_least_one(text)?;
            Ok(())
        },
    },
    Variable {
        name: "WSP_IG_PUSH_CONCURRENCY",
        sets: "wiring.wsp_push.lanes",
        apply: |asked, text| {
            let lanes = text.parse().ok().and_then(LaneCount::new);
            let most = LaneCount::MAX;
            let lanes =
                lanes.ok_or_else(|| not(text, format_args!("a number from 1 to {most}")))?;
            asked.profile.push.set_lanes(lanes);
            Ok(())
        },
    },
    Variable {
        name: "WSP_TARGET_EPS",
        sets: "policy.max_rate",
        apply: |asked, text| {
            let rate: f64 = parsed(text, "a number of at least 0")?;
            // As at the platform, 0 bounds nothing.
            if rate.abs() > 0.0 {
                let rate =
                    RateSteps::fixed(rate).map_err(|fault| format!("is unusable: {fault}"))?;
                asked.overrides.max_rate.get_or_insert(rate);
            }
            Ok(())
        },
    },
    Variable {
        name: CAMPAIGN_START,
        sets: "--start-at",
        apply: |asked, text| {
            asked.overrides.not_before = Some(time(text)?);
            Ok(())
        },
    },
];

const RATE_PLAN: &str = "WSP_RATE_PLAN_JSON";
const RATE_PLAN_START: &str = "WSP_RATE_PLAN_START_UTC";
const CAMPAIGN_START: &str = "WSP_CAMPAIGN_START_UTC";
const PLAN_ALONE: &str = "WSP_DISABLE_REPLAY_DELAY_WHEN_RATE_PLAN";
const PROGRESS_EVERY: &str = "WSP_PROGRESS_EVERY";
const PROGRESS_SECONDS: &str = "WSP_PROGRESS_SECONDS";
const LANE_COUNT: &str = "WSP_LANE_COUNT";
const LANE_INDEX: &str = "WSP_LANE_INDEX";

/// Variables that have a meaning beside each other.
const TOGETHER: &[&str] = &[
    RATE_PLAN,
    RATE_PLAN_START,
    PLAN_ALONE,
    LANE_COUNT,
    LANE_INDEX,
    PROGRESS_EVERY,
    PROGRESS_SECONDS,
];

/// How often the log says how far each output is, where no terminal shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProgressLines {
    /// Events of an output between two of its lines; at least 1.
    pub every: u64,
    /// The longest time between two lines of an output that goes on.
    pub within: Duration,
}

/// As the platform's producer has it.
impl Default for ProgressLines {
    fn default() -> Self {
        Self {
            every: 1_000,
            within: Duration::from_secs(30),
        }
    }
}

/// Variables that the platform's tasks set and that mean nothing here, and those that this
/// product's own make targets and command line read: known, so that nobody is warned of them.
const WITHOUT_MEANING: &[&str] = &[
    "WSP_ENGINE_RUN_ROOT",
    "WSP_HTTP_POOL_MAXSIZE",
    "WSP_MAX_EVENTS",
    "WSP_OUTPUT_CONCURRENCY",
    "WSP_OUTPUT_IDS",
    "WSP_PROFILE",
    "WSP_PROFILE_PARITY",
    "WSP_PROFILE_PATH",
    "WSP_RESUME_EVENTS",
    "WSP_SCENARIO_ID",
    "WSP_STREAM_VIEW_BATCH_SIZE",
    "WSP_TARGET_BURST_SECONDS",
    "WSP_TARGET_INITIAL_TOKENS",
];

/// The families of variables of components beside the stream.
const OF_OTHERS: &[&str] = &["WSP_READY_", "WSP_VALIDATE_"];

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let named = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let ours = |name: &str| name.starts_with(OURS) || name == PLATFORM_RUN_ID;
        Self {
            values: named
                .filter(|(name, value)| ours(name) && !value.is_empty())
                .collect(),
        }
    }
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let named = std::env::vars_os();
        let named = named.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        named.collect()
    }

    /// The value of `PLATFORM_RUN_ID`; `None` if it is unset, empty or no text.
    pub fn platform_run_id(&self) -> Option<&str> {
        self.values.get(PLATFORM_RUN_ID)?.to_str()
    }

    /// How often the log says how far each output is: `WSP_PROGRESS_EVERY` and
    /// `WSP_PROGRESS_SECONDS`, of which less than 1 counts as 1, as at the platform.
    ///
    /// # Errors
    /// `PROFILE_INVALID` for a value that is no number.
    pub fn progress_lines(&self) -> Result<ProgressLines, Error> {
        let mut lines = ProgressLines::default();
        if let Some(text) = self.text(PROGRESS_EVERY)? {
            let every: u64 = parsed(text, "a whole number")
                .map_err(|problem| unusable(PROGRESS_EVERY, &problem))?;
            lines.every = every.max(1);
        }
        if let Some(text) = self.text(PROGRESS_SECONDS)? {
            let seconds: f64 =
                parsed(text, "a number").map_err(|problem| unusable(PROGRESS_SECONDS, &problem))?;
            let within = Duration::try_from_secs_f64(seconds.max(1.0));
            lines.within = within
                .map_err(|_| unusable(PROGRESS_SECONDS, &not(text, "a number of seconds")))?;
        }
        Ok(lines)
    }

    /// A variable's value, without the blanks around it; `None` if it is unset or blank.
    ///
    /// # Errors
    /// `PROFILE_INVALID` for a value that is no text.
    fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        let text = value.to_str().ok_or_else(|| unusable(name, "is no text"))?;
        Ok(Some(text.trim()).filter(|text| !text.is_empty()))
    }

    /// Sets what the variables say in profile and overrides, but for overrides that are set
    /// already. Answers which key or flag each variable set.
    ///
    /// # Errors
    /// `PROFILE_INVALID` naming the variable whose value is unusable.
    pub(super) fn apply(
        &self,
        profile: &mut Profile,
        overrides: &mut Overrides,
    ) -> Result<BTreeMap<Target, &'static str>, Error> {
        self.apply_lanes(profile)?;
        self.progress_lines()?;
        // Before the rate of one step, which a plan stands in for.
        let planned = self.apply_rate_plan(profile, overrides)?;
        let mut asked = Asked { profile, overrides };
        let mut set = BTreeMap::new();
        for variable in VARIABLES {
            if let Some(text) = self.text(variable.name)? {
                (variable.apply)(&mut asked, text)
                    .map_err(|problem| unusable(variable.name, &problem))?;
                set.insert(variable.sets, variable.name);
            }
        }
        set.extend(planned);
        Ok(set)
    }

    /// Caps the rate by the platform's plan, whose offsets count from its own start, else from the
    /// campaign's; with the platform's switch for it nothing else paces. A cap that a flag names
    /// wins. Answers what was set.
    fn apply_rate_plan(
        &self,
        profile: &mut Profile,
        overrides: &mut Overrides,
    ) -> Result<Vec<(Target, &'static str)>, Error> {
        let Some(plan) = self.text(RATE_PLAN)? else {
            return Ok(Vec::new());
        };
        let steps = rate_plan::steps_of(plan).map_err(|problem| unusable(RATE_PLAN, &problem))?;
        let named = [RATE_PLAN_START, CAMPAIGN_START];
        let mut starts = named.into_iter().map(|name| Ok((name, self.text(name)?)));
        let start = starts.find_map(|start: Result<_, Error>| match start {
            Ok((name, Some(text))) => Some(Ok((name, text))),
            Ok((_, None)) => None,
            Err(error) => Some(Err(error)),
        });
        let Some((name, text)) = start.transpose()? else {
            let problem = format!("needs the time it counts from: {RATE_PLAN_START}");
            return Err(unusable(RATE_PLAN, &problem));
        };
        let start = time(text).map_err(|problem| unusable(name, &problem))?;
        let mut set = Vec::new();
        if overrides.max_rate.is_none() {
            overrides.max_rate = Some(steps);
            overrides.max_rate_from = Some(start);
            set.push(("policy.max_rate", RATE_PLAN));
        }
        if self.is_on(PLAN_ALONE)? && overrides.pace.is_none() {
            profile.pace = Pace::UNPACED;
            set.push(("policy.stream_speedup", PLAN_ALONE));
        }
        Ok(set)
    }

    /// Whether a switch is on, as the platform reads its switches.
    fn is_on(&self, name: &str) -> Result<bool, Error> {
        let text = self.text(name)?.unwrap_or_default().to_ascii_lowercase();
        match text.as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "" | "0" | "false" | "no" | "off" => Ok(false),
            other => Err(unusable(name, &not(other, "true or false"))),
        }
    }

    /// Makes this process one of the platform's lanes, which are shards by event id.
    fn apply_lanes(&self, profile: &mut Profile) -> Result<(), Error> {
        let number = |name, default: u32| match self.text(name)? {
            None => Ok(default),
            Some(text) => {
                parsed(text, "a whole number").map_err(|problem| unusable(name, &problem))
            }
        };
        let count = number(LANE_COUNT, 1)?.max(1);
        let index = number(LANE_INDEX, 0)?;
        if index >= count {
            let problem = format!("is {index}, and WSP_LANE_COUNT is {count}");
            return Err(unusable(LANE_INDEX, &problem));
        }
        if self.text(LANE_COUNT)?.is_some() {
            profile.shard = profile.shard.of_lane(index, count)?;
        }
        Ok(())
    }

    /// A sentence for each variable that begins like one of WSP's and is none, but for those
    /// that the profile itself names.
    pub(super) fn unknown(&self, of_profile: &BTreeSet<String>) -> Vec<String> {
        let known = || {
            let with_meaning = VARIABLES.iter().map(|variable| variable.name);
            let with_meaning = with_meaning.chain(TOGETHER.iter().copied());
            with_meaning.chain(WITHOUT_MEANING.iter().copied())
        };
        let names = self.values.keys().filter(|name| {
            name.starts_with(OURS)
                && !known().any(|known| known == *name)
                && !OF_OTHERS.iter().any(|family| name.starts_with(family))
                && !of_profile.contains(*name)
        });
        let sentences = names.map(|name| {
            let nearest = known().map(|known| (edit_distance(name, known), known));
            match nearest.min() {
                Some((distance, known)) if distance <= 3 => {
                    format!("the variable {name} is not known and sets nothing; is {known} meant?")
                }
                _ => format!("the variable {name} is not known and sets nothing"),
            }
        });
        sentences.collect()
    }
}

fn unusable(name: &str, problem: &str) -> Error {
    Error::new(
        ReasonCode::ProfileInvalid,
        format!("The environment variable {name} {problem}"),
        "Mend or unset it; config/platform/profiles/README.md lists every variable.",
    )
}

fn not(text: &str, expected: impl Display) -> String {
    format!("is `{}`, not {expected}", text.escape_debug())
}

fn parsed<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.parse().map_err(|_| not(text, expected))
}

fn at_least_one(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| not(text, "a whole number of at least 1"))
}

fn time(text: &str) -> Result<EventTime, String> {
    parsed(text, "a time like 2026-01-28T09:00:00Z")
}

/// The ids of a list that commas part.
fn ids(text: &str) -> Vec<String> {
    let ids = text.split(',').map(str::trim);
    ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
}
