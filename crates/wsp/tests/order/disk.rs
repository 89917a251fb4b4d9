//! The same small worlds as files, planned and cleared like any other.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use chrono::{DateTime, Duration, Utc};
use envelope::{PinValues, Pins};
use model::Shard;
use oracle_store::PartFormat;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use replay::{
    AsWritten, ClearedParts, DoneBefore, DoneThrough, Ending, EventTimeOrder, EventTimeSource,
    FeedPool, PartId, PartOpener, SortCache, TimeWindow,
};
use tempfile::TempDir;
use wsp::plan::{Plan, plan};
use wsp::profile::Profile;
use wsp::reading::{cleared_parts, event_time_source, sort_cache};
use wsp::{Overrides, StreamRequest};

use crate::world::{World, number};

/// How the times of a part are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeForm {
    /// An Arrow timestamp.
    Timestamp,
    /// Text, of another form in each row.
    MixedText,
}

/// How a world is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writing {
    pub(crate) format: PartFormat,
    pub(crate) time: TimeForm,
    pub(crate) group_rows: usize,
    /// Beside time and number, as many columns as real events have; Parquet only.
    pub(crate) wide: bool,
    /// Whether a column `key` that orders events stands before the number.
    pub(crate) keyed: bool,
}

/// The key of a row, by its number.
pub(crate) fn key_of(number: i64) -> String {
    format!("k{}", number % 7)
}

/// A world on disk, with what it takes to plan it.
pub(crate) struct DiskWorld {
    folder: TempDir,
    outputs: usize,
    /// Where parts are sorted; `None` is where the request says.
    pub(crate) cache: Option<SortCache>,
    /// Bytes of rows that are sorted in memory at once; `None` is a share of the memory budget.
    pub(crate) run_bytes: Option<usize>,
}

const FINGERPRINT: &str = "7510240d8c0d036d829c804b3832827fbd37dd23a3a8bafd607ae074d0e2d5f1";

impl DiskWorld {
    /// Writes a world; outputs are `o0`, `o1` and so on, all of them traffic.
    pub(crate) fn write(world: &World, writing: Writing) -> Self {
        let folder = TempDir::new().unwrap();
        let disk = Self {
            folder,
            outputs: world.len(),
            cache: None,
            run_bytes: None,
        };
        let ids: Vec<String> = (0..world.len())
            .map(|output| format!("o{output}"))
            .collect();
        let extension = match writing.format {
            PartFormat::Parquet => "parquet",
            PartFormat::Jsonl => "jsonl",
        };
        let primary_key = if writing.keyed {
            "key, number"
        } else {
            "number"
        };
        let entry = |id: &String| {
            format!(
                "- {{output_id: {id}, class: stream, primary_key: [{primary_key}], \
                 read_requires_gates: [], path_template: 'data/{id}/part-*.{extension}'}}\n"
            )
        };
        disk.file(
            "catalogue.yaml",
            &format!("outputs:\n{}", ids.iter().map(entry).collect::<String>()),
        );
        disk.file("engine_gates.map.yaml", "gates: []\n");
        disk.file("allowed.txt", "p\n");
        disk.file(
            "root/run_receipt.json",
            &format!(
                "{{\"run_id\":\"{0}\",\"manifest_fingerprint\":\"{FINGERPRINT}\",\
             \"parameter_hash\":\"{FINGERPRINT}\",\"seed\":7}}",
                "2".repeat(32)
            ),
        );
        for (output, parts) in world.iter().enumerate() {
            for (part, times) in parts.iter().enumerate() {
                let path = format!("root/data/o{output}/part-{part:05}.{extension}");
                disk.part(&path, output, part, times, writing);
            }
        }
        disk
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes one part.
    pub(crate) fn part(
        &self,
        name: &str,
        output: usize,
        part: usize,
        times: &[i64],
        writing: Writing,
    ) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let part = replay::PartId {
            output,
            part: part as u32,
        };
        let numbers = (0..times.len()).map(|row| number(part, row as u64));
        match writing.format {
            PartFormat::Jsonl => {
                let rows = times.iter().zip(numbers).enumerate();
                let line = |(row, (&time, number))| {
                    let key = if writing.keyed {
                        format!("\"key\":\"{}\",", key_of(number))
                    } else {
                        String::new()
                    };
                    let time = text(time, row);
                    format!("{{\"ts_utc\":\"{time}\",{key}\"number\":{number}}}\n")
                };
                fs::write(path, rows.map(line).collect::<String>()).unwrap();
            }
            PartFormat::Parquet => write_parquet(&path, times, numbers.collect(), writing),
        }
    }

    /// A request that streams the world, with settings of `wsp_order`.
    pub(crate) fn request(&self, order: &str) -> StreamRequest {
        let ids: Vec<String> = (0..self.outputs)
            .map(|output| format!("o{output}"))
            .collect();
        let here = self.folder.path().display();
        let text = format!(
            "profile_id: local\n\
             policy: {{posture: local, traffic_output_ids: [{}]}}\n\
             wiring:\n  \
               oracle_engine_run_root: {here}/root\n  \
               oracle_scenario_id: s\n  \
               engine_catalogue_path: {here}/catalogue.yaml\n  \
               ig_ingest_url: http://localhost:1\n  \
               wsp_producer: {{producer_id: p, allowlist_ref: {here}/allowed.txt}}\n  \
               wsp_audit: {{root: {here}/runs}}\n  \
               wsp_order: {{{order}}}\n",
            ids.join(", ")
        );
        let profile = Profile::parse(&text, &self.path("profile.yaml"), &|_| None).unwrap();
        StreamRequest::of_process(profile, Overrides::default()).unwrap()
    }

    /// Plans a request.
    fn plan(request: &StreamRequest) -> Result<Plan, wsp::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(plan(request))
    }

    /// What an event-time run reads.
    #[expect(clippy::unused_self, reason = "the request names this disk")]
    pub(crate) fn source(
        &self,
        request: &StreamRequest,
        done: &[DoneThrough],
        window: TimeWindow,
    ) -> Result<EventTimeSource, wsp::Error> {
        let plan = Self::plan(request)?;
        Ok(event_time_source(request, &plan, done.to_vec(), window))
    }

    /// The whole order, over files.
    pub(crate) fn order(
        &self,
        request: &StreamRequest,
        done: &[DoneThrough],
        window: TimeWindow,
    ) -> EventTimeOrder {
        self.order_of(request, (done, window), Shard::WHOLE, None)
    }

    /// The order of a shard, behind what is done of it and what was done before it was one.
    pub(crate) fn order_of(
        &self,
        request: &StreamRequest,
        (done, window): (&[DoneThrough], TimeWindow),
        shard: Shard,
        before: Option<DoneBefore>,
    ) -> EventTimeOrder {
        let plan = Self::plan(request).unwrap();
        let source = event_time_source(request, &plan, done.to_vec(), window);
        let (parts, open) = self.opener(request, &plan, shard, before);
        let learnt = Box::new(|_| {});
        EventTimeOrder::new(source, Box::new(open), parts, Ending::default(), learnt)
    }

    /// The same in the order of the files, from the beginning.
    pub(crate) fn as_written_of(
        &self,
        request: &StreamRequest,
        shard: Shard,
        before: Option<DoneBefore>,
    ) -> AsWritten {
        let plan = Self::plan(request).unwrap();
        let (_, open) = self.opener(request, &plan, shard, before);
        let outputs = plan.outputs.iter().enumerate();
        let parts = outputs.flat_map(|(output, planned)| {
            let parts = 0..planned.locator.parts.len() as u32;
            parts.map(move |part| (PartId { output, part }, 0))
        });
        AsWritten::new(parts.collect::<Vec<_>>(), Box::new(open))
    }

    fn opener(
        &self,
        request: &StreamRequest,
        plan: &Plan,
        shard: Shard,
        before: Option<DoneBefore>,
    ) -> (Arc<ClearedParts>, PartOpener) {
        let parts = Arc::new(cleared_parts(plan, &pins()).unwrap().of_shard(shard));
        let pool = FeedPool::start(2, &wsp::replay::Ending::default()).unwrap();
        let memory_budget = request.profile.ordering.memory_budget;
        let cache = self.cache.clone().unwrap_or_else(|| sort_cache(request));
        let mut open = PartOpener::new(Arc::clone(&parts), pool, cache, memory_budget);
        if let Some(run_bytes) = self.run_bytes {
            open = open.sorting_at_once(run_bytes);
        }
        (parts, open.behind(before))
    }
}

fn pins() -> Pins {
    Pins::new(PinValues {
        manifest_fingerprint: FINGERPRINT.to_owned(),
        parameter_hash: FINGERPRINT.to_owned(),
        seed: 7,
        scenario_id: "s".to_owned(),
        run_id: "2".repeat(32),
        platform_run_id: "platform_20260128T090000Z".to_owned(),
        producer: "p".to_owned(),
        ..PinValues::default()
    })
    .unwrap()
}

fn write_parquet(path: &Path, times: &[i64], numbers: Vec<i64>, writing: Writing) {
    let times: ArrayRef = match writing.time {
        TimeForm::Timestamp => Arc::new(TimestampNanosecondArray::from(times.to_vec())),
        TimeForm::MixedText => {
            let texts = times.iter().enumerate().map(|(row, &time)| text(time, row));
            Arc::new(StringArray::from_iter_values(texts))
        }
    };
    let mut columns = vec![("ts_utc", times)];
    if writing.keyed {
        let keys = numbers.iter().map(|&number| key_of(number));
        let keys: ArrayRef = Arc::new(StringArray::from_iter_values(keys));
        columns.push(("key", keys));
    }
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    columns.push(("number", Arc::clone(&numbers)));
    if writing.wide {
        let rows = numbers.len();
        let constant = |text| Arc::new(StringArray::from_iter_values((0..rows).map(|_| text)));
        for name in ["manifest_fingerprint", "parameter_hash"] {
            columns.push((name, constant(FINGERPRINT)));
        }
        columns.push(("scenario_id", constant("baseline_v1")));
        let ids = [
            "flow_id",
            "merchant_id",
            "party_id",
            "account_id",
            "device_id",
            "ip_id",
        ];
        columns.extend(ids.map(|name| (name, Arc::clone(&numbers))));
        let amounts = (0..rows).map(|row| row as f64 * 0.37);
        columns.push(("amount", Arc::new(Float64Array::from_iter_values(amounts))));
        let campaigns = (0..rows).map(|row| format!("campaign-{:032}", row % 50));
        columns.push((
            "campaign_id",
            Arc::new(StringArray::from_iter_values(campaigns)),
        ));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(writing.group_rows))
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// One instant in one of the forms that a column may mix.
fn text(nanos: i64, row: usize) -> String {
    let time: DateTime<Utc> = DateTime::from_timestamp_nanos(nanos);
    match row % 3 {
        0 => time.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(),
        1 => time.format("%Y-%m-%d %H:%M:%S%.9f").to_string(),
        _ => (time - Duration::minutes(90))
            .format("%Y-%m-%dT%H:%M:%S%.9f-01:30")
            .to_string(),
    }
}
