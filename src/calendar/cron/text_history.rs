//! [`CronTextHistory`]: the cron expressions that a job has had.

use crate::calendar::cron::expression::Cron;
use crate::sync::primitives::{Arc, AtomicUsize, OnceLock, Ordering};

/// All cron expressions that a job has had, and which one is current.
///
/// A job can be replaced at any time, and a handle returns a reference to the text of its
/// expression. So no expression is removed while the job exists. An expression that a job
/// has several times is stored once.
#[derive(Debug, Default)]
pub(crate) struct CronTextHistory {
    first: OnceLock<Box<HistoryEntry>>,
    /// The number of the current expression, from 1. 0 if there is none.
    current: AtomicUsize,
}

/// An entry of a linked list.
#[derive(Debug)]
struct HistoryEntry {
    cron: Arc<Cron>,
    next: OnceLock<Box<HistoryEntry>>,
}

impl CronTextHistory {
    /// The history of a job whose first expression is `cron`.
    #[inline]
    pub(crate) fn of(cron: Option<&Arc<Cron>>) -> OnceLock<Box<Self>> {
        let texts = OnceLock::new();
        if cron.is_some() {
            texts.get_or_init(Box::<Self>::default).set(cron);
        }
        texts
    }

    /// Sets the current expression. The caller must prevent concurrent calls.
    pub(crate) fn set(&self, cron: Option<&Arc<Cron>>) {
        let Some(cron) = cron else {
            return self.current.store(0, Ordering::Release);
        };
        let mut number = 1;
        let mut end = &self.first;
        while let Some(text) = end.get() {
            if text.cron == *cron {
                break;
            }
            number += 1;
            end = &text.next;
        }
        end.get_or_init(|| {
            Box::new(HistoryEntry {
                cron: cron.clone(),
                next: OnceLock::new(),
            })
        });
        // Release pairs with the acquire of `get`: a thread that reads the number sees the
        // expression.
        self.current.store(number, Ordering::Release);
    }

    /// The text of the current expression.
    pub(crate) fn get(&self) -> Option<&str> {
        let number = self.current.load(Ordering::Acquire).checked_sub(1)?;
        let texts = std::iter::successors(self.first.get(), |text| text.next.get());
        texts.map(|text| text.cron.as_str()).nth(number)
    }
}

impl Drop for CronTextHistory {
    /// Drops the expressions in a loop. The recursive drop of a long list would overflow the
    /// stack.
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut entry) = next {
            next = entry.next.take();
        }
    }
}
