//! What a run would read, skip, sort and hand over, and how long that takes: looked up before it,
//! in footers and time columns alone.

use envelope::FrameSpec;
use oracle_store::{Hex64, Part, PartFooter};

use crate::Error;
use crate::blocking::blocking_as;
use crate::plan::Plan;
use crate::profile::OrderMode;
use crate::profile::request::StreamRequest;
use crate::run::reading::event_time_source;
use crate::run::resume::{self, OutputStart};
use replay::{Bounds, Ending, Forecast, Overlap, PartId, Schedule, TimesInOrder, forecast};

/// What is known of a run before it begins.
pub(crate) struct Foresight {
    /// How many parts are open at once, and the memory that takes.
    pub(crate) overlap: Overlap,
    /// The open parts that are not in time order; empty where the order is that of the files.
    pub(crate) unsorted: Vec<Unsorted>,
    /// The rows of each output; `None` where only reading would tell.
    pub(crate) rows: Vec<Option<u64>>,
    /// The rows of each output that are done and are skipped; `None` where only reading would tell.
    pub(crate) skipped: Vec<Option<u64>>,
    /// The bytes of all parts with open rows.
    pub(crate) read_bytes: u64,
    /// What would be handed over, and when; `None` where nobody asks for it.
    pub(crate) forecast: Option<Forecast>,
}

/// A part that is not in time order.
pub(crate) struct Unsorted {
    pub(crate) part: Part,
    pub(crate) location: String,
    pub(crate) identity: Hex64,
    pub(crate) rows: u64,
}

/// What a look ahead goes by.
pub(crate) struct Ahead<'a> {
    pub(crate) request: &'a StreamRequest,
    pub(crate) plan: &'a Plan,
    pub(crate) order: OrderMode,
    /// Where each output goes on.
    pub(crate) starts: &'a [OutputStart],
    /// The footers of each output's parts.
    pub(crate) footers: &'a [Vec<PartFooter>],
    /// The schedule to run through; `None` makes no forecast.
    pub(crate) schedule: Option<Schedule>,
}

impl Ahead<'_> {
    /// Looks ahead: reads the time columns that are not known and, for a forecast, those of all
    /// open rows.
    ///
    /// # Errors
    /// What a run would be refused for: `MISSING_EVENT_TIME`, `EVENT_TIME_INVALID`,
    /// `EVENT_TIME_DISORDER`, `ORACLE_READ_FAILED`, `MEMORY_BUDGET_EXCEEDED`,
    /// `FILE_HANDLES_EXCEEDED`, `PROCESS_LIMIT_EXCEEDED`.
    pub(crate) async fn look(self) -> Result<Foresight, Error> {
        match self.order {
            OrderMode::EventTime => self.in_event_time().await,
            OrderMode::AsWritten => self.in_file_order().await,
        }
    }

    fn part(&self, id: PartId) -> &Part {
        &self.plan.outputs[id.output].locator.parts[id.part as usize]
    }

    async fn in_event_time(mut self) -> Result<Foresight, Error> {
        let overrides = &self.request.overrides;
        let done = resume::done_through(self.plan, self.starts)?;
        let source = event_time_source(self.request, self.plan, done, overrides.window);
        let mut source = source.without_keeping();
        let (bounds, outputs) = (overrides.bounds, self.plan.outputs.len());
        let schedule = self.schedule.take();
        let what = "The thread that reads time columns ended too early";
        let surveyed = blocking_as(what, move || {
            let survey = source.survey(&Ending::default())?;
            source.check(&survey)?;
            let skipped = source.done_rows(&survey)?;
            let times = source.open_times(&survey);
            let forecast = foretold(times, schedule, bounds, outputs)?;
            Ok::<_, replay::Error>((survey, skipped, forecast))
        });
        let (survey, skipped, forecast) = surveyed.await?;
        let identities = self.plan.outputs.iter().map(|output| {
            let (id, key) = (output.id(), &output.primary_key);
            FrameSpec::identity_digest_of(id, key, &self.plan.world_key)
        });
        let identities: Vec<_> = identities.collect();
        let unsorted = survey.unsorted().map(|(id, rows)| Unsorted {
            part: self.part(id).clone(),
            location: self.plan.store.root().as_str().to_owned(),
            identity: identities[id.output].clone(),
            rows,
        });
        Ok(Foresight {
            overlap: *survey.overlap(),
            unsorted: unsorted.collect(),
            rows: survey.rows().map(Some).collect(),
            skipped: skipped.into_iter().map(Some).collect(),
            read_bytes: survey.open_parts().map(|id| self.part(id).pin().size).sum(),
            forecast,
        })
    }

    async fn in_file_order(mut self) -> Result<Foresight, Error> {
        let open = resume::open_parts(self.plan, self.starts);
        let footer = |id: PartId| &self.footers[id.output][id.part as usize];
        let read_bytes: Vec<u64> = open.iter().map(|(id, _)| footer(*id).read_bytes).collect();
        let bytes = open.iter().map(|(id, _)| self.part(*id).pin().size).sum();
        let (rows, skipped) = (self.rows(), self.done_as_written(&open));
        let parts = open
            .iter()
            .map(|(id, from_row)| (*id, self.part(*id).clone(), *from_row));
        let times = TimesInOrder::as_written(self.plan.store.clone(), parts.collect::<Vec<_>>());
        let (bounds, outputs) = (self.request.overrides.bounds, self.plan.outputs.len());
        let schedule = self.schedule.take();
        let what = "The thread that reads time columns ended too early";
        let foretold = blocking_as(what, move || foretold(times, schedule, bounds, outputs));
        Ok(Foresight {
            overlap: Overlap::in_turn(&read_bytes),
            unsorted: Vec::new(),
            rows,
            skipped,
            read_bytes: bytes,
            forecast: foretold.await?,
        })
    }

    fn rows(&self) -> Vec<Option<u64>> {
        let outputs = self.footers.iter();
        let rows = outputs.map(|footers| footers.iter().map(|footer| footer.rows).sum());
        rows.collect()
    }

    /// The rows of each output that come before its open ones.
    fn done_as_written(&self, open: &[(PartId, u64)]) -> Vec<Option<u64>> {
        let outputs = self.footers.iter().enumerate();
        let done = outputs.map(|(output, footers)| {
            let parts = (0..).zip(footers).map(|(part, footer)| {
                let id = PartId { output, part };
                match open.iter().find(|(open, _)| *open == id) {
                    Some((_, from_row)) => Some(*from_row),
                    None => footer.rows,
                }
            });
            parts.sum()
        });
        done.collect()
    }
}

/// What a schedule would have handed over, where there is one.
fn foretold(
    times: TimesInOrder,
    schedule: Option<Schedule>,
    bounds: Bounds,
    outputs: usize,
) -> Result<Option<Forecast>, replay::Error> {
    schedule
        .map(|schedule| forecast(times, schedule, bounds, outputs))
        .transpose()
}
