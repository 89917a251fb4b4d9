//! Panics of decoders, turned into errors.
//!
//! The Parquet decoder panics on some damaged pages: a dictionary of zero values is enough.
//! A panic inside [`contain`] becomes a text, which its caller makes an error of, and a
//! process that called [`silence_decoder_panics`] does not print it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// Whether this thread runs inside [`contain`].
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a step; a panic of it is its message.
pub(crate) fn contain<T>(step: impl FnOnce() -> T) -> Result<T, String> {
    /// Puts back what was before, also where a panic passes.
    struct Outer(bool);
    impl Drop for Outer {
        fn drop(&mut self) {
            IS_CONTAINED.set(self.0);
        }
    }
    let _outer = Outer(IS_CONTAINED.replace(true));
    catch_unwind(AssertUnwindSafe(step)).map_err(|panic| message_of(&*panic))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

/// Keeps the process from printing panics of decoders, which reads turn into errors: a
/// damaged part is reported once, by its reason code. Panics elsewhere go to the hook that
/// was set before. A second call does nothing.
///
/// A program calls this once at its start; the library never changes the hook by itself.
pub fn silence_decoder_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CONTAINED.get() {
                hook(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_panic_is_its_message_and_ends_with_its_step() {
        assert_eq!(contain(|| 5), Ok(5));
        let nested = contain(|| {
            let inner = contain(|| panic!("of {}", "a page"));
            assert_eq!(inner, Err::<(), _>("of a page".to_owned()));
            assert!(IS_CONTAINED.get(), "the outer step still runs");
            panic!("of a footer")
        });
        assert_eq!(nested, Err::<(), _>("of a footer".to_owned()));
        assert!(!IS_CONTAINED.get());
    }
}
