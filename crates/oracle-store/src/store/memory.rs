//! What the readers of a world may hold in memory together, beyond what is usual.
//!
//! A reader's usual needs are estimated from footers before the first row is read. What a
//! page or a row takes beyond them is held here before it is allocated: where nothing is
//! left, reading ends with `MEMORY_BUDGET_EXCEEDED`, and not by the system's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ReasonCode};

/// What the readers of a world may hold unless its owner says otherwise: 384 MiB.
const DEFAULT_LIMIT: u64 = 384 << 20;

/// Bytes that the readers of a world share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadMemory(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    limit: u64,
    /// What readers take by their estimates, which is never held.
    usual: AtomicU64,
    held: AtomicU64,
}

/// Bytes taken from a [`ReadMemory`]; given back on drop.
#[derive(Debug)]
pub struct HeldMemory {
    memory: ReadMemory,
    bytes: u64,
}

impl Default for ReadMemory {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl ReadMemory {
    /// So many bytes, none of them held.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Counts {
            limit,
            usual: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }))
    }

    /// Says what readers take by their estimates: so much less is left for what they take
    /// beyond them.
    pub fn expect(&self, usual: u64) {
        self.0.usual.store(usual, Ordering::Relaxed);
    }

    /// Nothing yet, to be resized.
    pub fn nothing(&self) -> HeldMemory {
        HeldMemory {
            memory: self.clone(),
            bytes: 0,
        }
    }

    /// Takes bytes for something that is about to be allocated; `what` names it in the error.
    ///
    /// # Errors
    /// `MEMORY_BUDGET_EXCEEDED` if not so many are left.
    pub fn hold(&self, bytes: u64, what: impl FnOnce() -> String) -> Result<HeldMemory, Error> {
        self.try_hold(bytes).ok_or_else(|| {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let text = format!(
                "{} takes {} MiB of memory beyond the usual; readers may take {} MiB together, of \
                 which {} are taken",
                what(),
                mib(bytes),
                mib(self.0.limit),
                mib(self.usual() + self.0.held.load(Ordering::Relaxed)),
            );
            Error::new(ReasonCode::MemoryBudgetExceeded, text)
        })
    }

    fn usual(&self) -> u64 {
        self.0.usual.load(Ordering::Relaxed)
    }

    fn try_hold(&self, bytes: u64) -> Option<HeldMemory> {
        let limit = self.0.limit.saturating_sub(self.usual());
        let taken = self
            .0
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|held| *held <= limit)
            });
        taken.ok().map(|_| HeldMemory {
            memory: self.clone(),
            bytes,
        })
    }
}

impl HeldMemory {
    /// Holds so many bytes instead; `what` names what for, in the error.
    ///
    /// # Errors
    /// `MEMORY_BUDGET_EXCEEDED` if not so many are left; then as many are held as before.
    pub fn resize(&mut self, bytes: u64, what: impl FnOnce() -> String) -> Result<(), Error> {
        if let Some(more) = bytes.checked_sub(self.bytes)
            && more > 0
        {
            let mut more = self.memory.hold(more, what)?;
            self.bytes += std::mem::take(&mut more.bytes);
        }
        self.shrink_to(bytes);
        Ok(())
    }

    /// Gives back all but so many bytes.
    pub fn shrink_to(&mut self, bytes: u64) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.bytes -= given_back;
        self.memory.0.held.fetch_sub(given_back, Ordering::Relaxed);
    }
}

impl Drop for HeldMemory {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_held_up_to_its_limit_and_given_back() {
        let memory = ReadMemory::new(100);
        let mut first = memory.hold(60, || unreachable!("there is enough")).unwrap();
        let error = memory.hold(41, || "A page".to_owned()).unwrap_err();
        assert_eq!(error.code(), ReasonCode::MemoryBudgetExceeded);
        assert!(
            error.to_string().starts_with("A page takes 1 MiB of"),
            "{error}"
        );
        assert!(memory.hold(u64::MAX, String::new).is_err());
        first.shrink_to(10);
        first.shrink_to(50);
        first.resize(101, String::new).unwrap_err();
        first.resize(100, String::new).unwrap();
        first.resize(10, String::new).unwrap();
        let second = memory.hold(90, String::new).unwrap();
        drop((first, second));
        assert!(memory.hold(100, String::new).is_ok(), "all is given back");
        memory.expect(30);
        assert!(memory.hold(71, String::new).is_err());
        assert!(memory.hold(70, String::new).is_ok());
    }
}
