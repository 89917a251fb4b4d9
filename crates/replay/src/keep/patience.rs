//! Patience with a checkpoint store that is away: asked again, with growing pauses.

use std::time::{Duration, Instant};

use model::{Backoff, Clock as _, SharedClock, with_causes};
use push::Trouble;

/// Pauses between tries of a store that is away.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// A store without an answer for so long is told of.
const SILENCE: Duration = Duration::from_secs(5);

/// Asks a store, again and again while it is away, for up to `give_up_after`; `retried` counts.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, checkpoint::Error>>>(
    clock: &SharedClock,
    trouble: &Trouble,
    give_up_after: Duration,
    retried: &mut u64,
    ask: impl Fn() -> F,
) -> Result<T, checkpoint::Error> {
    let (mut failed, mut away_since) = (0, None);
    loop {
        let began = clock.now();
        let settled = tell_of_silence(clock, trouble, away_since.unwrap_or(began), ask()).await;
        match settled {
            Err(error) if error.is_retryable() => {
                // A try may take its time: the store is away from the beginning of the first one.
                let away_for = clock.since(*away_since.get_or_insert(began));
                trouble.failed(away_for, with_causes(&error));
                if away_for >= give_up_after {
                    return Err(error);
                }
                failed += 1;
                let pause_left = give_up_after.saturating_sub(away_for);
                clock.sleep(PAUSES.longest(failed).min(pause_left)).await;
                *retried += 1;
            }
            settled => {
                trouble.is_over();
                return settled;
            }
        }
    }
}

/// Waits for an answer, and tells of a store that gives none for a while.
async fn tell_of_silence<T>(
    clock: &SharedClock,
    trouble: &Trouble,
    since: Instant,
    answer: impl Future<Output = T>,
) -> T {
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return answer,
            () = clock.sleep(SILENCE) => {
                trouble.failed(clock.since(since), "it gives no answer".to_owned());
            }
        }
    }
}
