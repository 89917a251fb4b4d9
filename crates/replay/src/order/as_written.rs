//! As written: outputs in list order, parts in name order, rows in file order.

use std::collections::VecDeque;
use std::task::{Poll, ready};

use super::{Event, EventOrder, FooterSurvey, OpenFeed, OpenPart, PartId, PartStart};
use crate::Error;

/// The order of the files themselves.
///
/// The part after the current one is opened ahead, so that its first chunk is
/// ready when it is wanted; no more than two are ever open.
pub struct AsWritten {
    parts: VecDeque<(PartId, u64)>,
    open: Box<dyn OpenPart>,
    survey: Option<FooterSurvey>,
    current: Option<OpenFeed>,
    ahead: Option<OpenFeed>,
    last_output: Option<usize>,
}

impl AsWritten {
    /// Over parts in their order, each from a row on.
    pub fn new(parts: impl IntoIterator<Item = (PartId, u64)>, open: Box<dyn OpenPart>) -> Self {
        Self {
            parts: parts.into_iter().collect(),
            open,
            survey: None,
            current: None,
            ahead: None,
            last_output: None,
        }
    }

    /// The same, after a look at the parts' footers, which begins when the first event is asked
    /// for.
    #[must_use]
    pub fn behind(mut self, survey: FooterSurvey) -> Self {
        self.survey = Some(survey);
        self
    }

    /// The part after the current one becomes the current one, and the one after
    /// that is opened ahead.
    fn advance(&mut self) {
        let next = self.ahead.take().or_else(|| self.open_next());
        self.ahead = if next.is_some() {
            self.open_next()
        } else {
            None
        };
        self.current = next;
    }

    fn open_next(&mut self) -> Option<OpenFeed> {
        let (part, from_row) = self.parts.pop_front()?;
        Some(OpenFeed::new(
            part,
            self.open.open(part, PartStart::Row(from_row)),
        ))
    }
}

impl EventOrder for AsWritten {
    fn poll(&mut self) -> Poll<Result<Option<Event>, Error>> {
        if let Some(survey) = &mut self.survey {
            ready!(survey.poll()?);
            self.survey = None;
        }
        loop {
            if self.current.is_none() {
                self.advance();
            }
            let Some(current) = &mut self.current else {
                return Poll::Ready(Ok(None));
            };
            if let Some(mut event) = ready!(current.next_event()?) {
                event.anchors = self.last_output != Some(event.output);
                self.last_output = Some(event.output);
                return Poll::Ready(Ok(Some(event)));
            }
            self.current = None;
        }
    }

    fn leave_out(&mut self, output: usize) {
        self.parts.retain(|(part, _)| part.output != output);
        for open in [&mut self.current, &mut self.ahead] {
            open.take_if(|feed| feed.part().output == output);
        }
    }
}
