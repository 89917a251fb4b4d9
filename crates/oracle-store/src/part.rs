//! One file of an output, under the pin that it was located with.

use std::sync::Arc;

use model::OutputId;
use serde::{Deserialize, Serialize};

/// The folder of a world in which the platform's stream views lie, one folder an output.
pub const STREAM_VIEW_BASE: &str = "stream_view/ts_utc";

/// Which bytes an object had: what is verified under a pin is what is read under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The object's length in bytes.
    pub size: u64,
    /// The object store's ETag; on disk, the file's inode, modification time and change time.
    pub etag: String,
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartFormat {
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    Jsonl,
}

impl PartFormat {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "parquet" => Some(Self::Parquet),
            "jsonl" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// The column that holds the rows' event times, unless another is named.
pub const TIME_COLUMN: &str = "ts_utc";

/// One file of an output, as it was when it was located.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    path: String,
    pin: Pin,
    format: PartFormat,
    #[serde(skip)]
    output_id: OutputId,
    /// `None` for [`TIME_COLUMN`].
    #[serde(skip)]
    time_column: Option<Arc<str>>,
    #[serde(skip)]
    is_view: bool,
}

impl Part {
    /// A part as it is located.
    pub(crate) fn new(path: String, pin: Pin, format: PartFormat, output_id: OutputId) -> Self {
        Self {
            path,
            pin,
            format,
            output_id,
            time_column: None,
            is_view: false,
        }
    }

    /// A file of an output's stream view.
    pub(crate) fn of_view(path: String, pin: Pin, output_id: OutputId) -> Self {
        Self {
            is_view: true,
            ..Self::new(path, pin, PartFormat::Parquet, output_id)
        }
    }

    /// The same part, whose rows have their event times in this column.
    #[must_use]
    pub fn timed_by(self, column: &Arc<str>) -> Self {
        Self {
            time_column: Some(Arc::clone(column)),
            ..self
        }
    }

    /// The column that holds the rows' event times; [`TIME_COLUMN`] unless another is named.
    pub fn time_column(&self) -> &str {
        self.time_column.as_deref().unwrap_or(TIME_COLUMN)
    }

    /// The part's key, relative to the engine run root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The part's name in cursors: its key relative to the engine run root, or to the base of
    /// the stream views for a file of one.
    pub fn name(&self) -> &str {
        let in_base = self.path.strip_prefix(STREAM_VIEW_BASE);
        let in_base = in_base.and_then(|rest| rest.strip_prefix('/'));
        in_base.filter(|_| self.is_view).unwrap_or(&self.path)
    }

    /// The bytes that the part had when it was located.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// The same part under another pin.
    #[must_use]
    pub fn under(&self, pin: &Pin) -> Self {
        Self {
            pin: pin.clone(),
            ..self.clone()
        }
    }

    /// What the part holds.
    pub fn format(&self) -> PartFormat {
        self.format
    }

    /// Whether the part is a file of the output's stream view, and not of the output itself.
    ///
    /// Views are in order by whole microseconds, so these are the times of its rows.
    pub fn is_view(&self) -> bool {
        self.is_view
    }

    /// The output that the part belongs to.
    pub fn output_id(&self) -> &OutputId {
        &self.output_id
    }
}
