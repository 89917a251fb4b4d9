//! `wsp-cli checkpoint show|reset|reshard`.

use std::process::ExitCode;

use wsp::clock::Surroundings;
use wsp::cursors::{self, CursorReport, CursorsReport, ReshardReport};
use wsp::{Error, HolderReport, Overrides, ReasonCode, StoredCursorReport};

use super::{conclude, refuse, request, request_with};
use crate::args::{CheckpointArgs, CheckpointCommand, ResetArgs, ReshardArgs};
use crate::output;

/// Shows cursors, or gives them up.
pub async fn run(args: CheckpointArgs) -> ExitCode {
    let found = match args.command {
        CheckpointCommand::Show(world) => match request(world) {
            Ok(request) => cursors::show(&request, &Surroundings::default()).await,
            Err(error) => Err(error),
        },
        CheckpointCommand::Reset(args) => reset(args).await,
        CheckpointCommand::Reshard(args) => return conclude(reshard(args).await),
    };
    match found {
        Ok(report) => {
            output::tell(format_args!("{}", table(&report)));
            output::print(&report);
            ExitCode::from(u8::from(report.status != "OK"))
        }
        Err(error) => refuse(&error),
    }
}

async fn reset(args: ResetArgs) -> Result<CursorsReport, Error> {
    if !args.yes {
        return Err(Error::new(
            ReasonCode::ResetNotConfirmed,
            "After a reset the next run streams everything again from the beginning.",
            "Nothing was changed; add --yes to do it.",
        ));
    }
    let overrides = Overrides {
        take_over: args.take_over,
        ..Overrides::default()
    };
    cursors::reset(
        &request_with(args.world, overrides)?,
        &Surroundings::default(),
    )
    .await
}

async fn reshard(args: ReshardArgs) -> Result<ReshardReport, Error> {
    let overrides = Overrides {
        take_over: args.take_over,
        ..Overrides::default()
    };
    let request = request_with(args.world, overrides)?;
    cursors::reshard(&request, args.to, &Surroundings::default()).await
}

fn table(report: &CursorsReport) -> String {
    let mut lines = vec![
        format!("world    {}", report.engine_run_root),
        format!("cursors  {}", report.checkpoint_store),
        format!("pack key {}", report.pack_key),
    ];
    for cursor in &report.cursors {
        let percent = match (&cursor.cursor, cursor.percent) {
            (None, _) => String::new(),
            (Some(_), None) => "? %".to_owned(),
            (Some(_), Some(percent)) => format!("{percent:.1} %"),
        };
        let state = match cursor {
            CursorReport {
                was_reset: true, ..
            } => "reset: starts at the beginning".to_owned(),
            CursorReport {
                cursor: Some(at), ..
            } => position(at),
            CursorReport {
                error: Some(error), ..
            } => format!("{}: {}", error.reason, error.detail),
            _ => "none: starts at the beginning".to_owned(),
        };
        lines.push(format!(
            "output   {:<32} {percent:>7}  {state}",
            cursor.output_id
        ));
        if let Some(place) = &cursor.found_in {
            lines.push(format!("         found in {place}"));
        }
        if let Some(age) = cursor.age_s {
            lines.push(format!("         saved {} ago", duration(age)));
        }
        if let Some(lease) = &cursor.holder {
            lines.push(format!("         held by {}", held_by(lease)));
        }
    }
    lines.join("\n") + "\n"
}

fn position(cursor: &StoredCursorReport) -> String {
    format!(
        "row {} of {} at {} ({})",
        cursor.last_row_index,
        cursor.last_file,
        cursor.last_ts_utc.as_deref().unwrap_or("unknown"),
        cursor.order.as_str(),
    )
}

fn held_by(lease: &HolderReport) -> String {
    let holder = &lease.holder;
    let alive = match lease.alive {
        Some(true) => "",
        Some(false) => ", which has died",
        None => ", perhaps alive",
    };
    format!(
        "{} (process {} on {}){alive}, renewed at {}",
        holder.name, holder.pid, holder.host, lease.renewed_at_utc,
    )
}

/// The two largest units of a duration.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_their_two_largest_units() {
        let shown = [59, 61, 3_599, 7_260, 90_000].map(duration);
        assert_eq!(
            shown,
            ["59 s", "1 min 1 s", "59 min 59 s", "2 h 1 min", "1 d 1 h"]
        );
    }
}
