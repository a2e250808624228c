//! [`Lines`]: who waits for which limits.
//!
//! A *ticket* is an attempt that takes one unit of each limit that its job has, all of them
//! together or none. A ticket that cannot take them waits. Tickets of the same limits wait in
//! one *line*, the best of them first: by priority, then by due time, then by arrival. A line
//! that has waiting tickets *watches* one limit that its first ticket cannot take. Only if that
//! limit changes, the line has to be looked at again: so the release of a limit costs no look at
//! lines that wait for others.
//!
//! A ticket that [`OVERTAKEN`] later ones have overtaken at one of its limits is *favored*: its
//! limits are kept for it, and of favored tickets for the first that came. Favored tickets never
//! wait for each other in a circle, because each waits for earlier ones only.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::sync::primitives::Arc;
use crate::value::time_units::WallNanos;

/// How many later tickets may overtake one at each of its limits.
pub(crate) const OVERTAKEN: u64 = if cfg!(test) { 3 } else { 1_000 };

/// A list with no more entries than this that do not wait any more is left as it is.
const FEW_STALE: usize = if cfg!(test) { 2 } else { 64 };

/// A limit of an app, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LimitId(u32);

/// A line, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LineId(u32);

/// A ticket, as an index. Never 0, so that an unset one takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TicketId(std::num::NonZeroU32);

/// The order of the tickets that wait: the smallest is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Order {
    priority: Reverse<i8>,
    due: WallNanos,
    arrival: u64,
}

/// What comes of a new ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It has taken its limits.
    Placed(TicketId),
    Waits(TicketId),
}

#[derive(Debug)]
struct Limit {
    capacity: usize,
    in_use: usize,
    /// The lines that watch this limit, the one with the best first ticket first.
    watchers: BTreeSet<(Order, LineId)>,
    /// The tickets that wait, by arrival. Those that do not wait any more are removed when they
    /// are the first, or when they are more than half.
    waiting: VecDeque<WaitingTicket>,
    /// How many of `waiting` do not wait any more, at most.
    stale: usize,
    /// All tickets that have come, and those of them that have taken the limit.
    arrived: u64,
    taken: u64,
    /// Of the tickets that came before the first of `waiting`, those that have left without the
    /// limit.
    left_before: u64,
    /// How many tickets after the last of `waiting` have left without the limit.
    left_last: u32,
    /// The favored tickets that need this limit, by arrival.
    favored: BTreeSet<(u64, TicketId)>,
    /// No other ticket was overtaken too often before `taken` is this.
    look_again_at: u64,
}

#[derive(Clone, Copy, Debug)]
struct WaitingTicket {
    arrival: u64,
    /// How many tickets came to this limit before it.
    before: u64,
    /// How many tickets, between the one before it in the list and this, have left without the
    /// limit.
    left_before: u32,
    /// `None` if it has left without the limit.
    ticket: Option<TicketId>,
}

#[derive(Debug)]
struct Line {
    /// Shared, so that a step can go through them while it changes the line.
    limits: Arc<[LimitId]>,
    waiting: BinaryHeap<Reverse<(Order, TicketId)>>,
    /// The entries of `waiting` that do not wait any more.
    stale: usize,
    /// The limit that it watches, and the order under which.
    watches: Option<(LimitId, Order)>,
    /// Its tickets, with those that have their limits.
    tickets: usize,
    /// The key whose last limit is of this line alone.
    key: Option<(LineId, Arc<str>)>,
}

#[derive(Debug)]
struct Ticket<J> {
    line: LineId,
    order: Order,
    /// `None` if it has its limits.
    waits: Option<J>,
    is_favored: bool,
}

/// All limits and lines of an app. `J` is what waits.
#[derive(Debug)]
pub(crate) struct Lines<J> {
    limits: Slots<Limit>,
    lines: Slots<Line>,
    tickets: Slots<Ticket<J>>,
    /// The lines of keys, by the line without a key.
    keys: HashMap<(LineId, Arc<str>), LineId>,
    arrivals: u64,
}

/// Values in slots that are used again.
#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(value);
                index
            }
            None => {
                self.slots.push(Some(value));
                (self.slots.len() - 1) as u32
            }
        }
    }

    fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.as_ref()
    }

    fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.as_mut()
    }

    fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.slots.get_mut(index as usize)?.take();
        if value.is_some() {
            self.free.push(index);
        }
        if self.free.len() == self.slots.len() {
            // All slots are free: the memory of a burst is given back.
            *self = Self::new();
        }
        value
    }
}

impl TicketId {
    fn of(index: u32) -> Self {
        Self(std::num::NonZeroU32::MIN.saturating_add(index))
    }

    fn index(self) -> u32 {
        self.0.get() - 1
    }
}

impl Limit {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            in_use: 0,
            watchers: BTreeSet::new(),
            waiting: VecDeque::new(),
            stale: 0,
            arrived: 0,
            taken: 0,
            left_before: 0,
            left_last: 0,
            favored: BTreeSet::new(),
            look_again_at: OVERTAKEN,
        }
    }

    /// Whether a ticket that came then may take it. If it is kept for favored tickets, only the
    /// first of them may: not even a ticket that came before, which would be found behind later
    /// ones of its line.
    fn is_free_for(&self, arrival: u64) -> bool {
        let favored = self.favored.first();
        self.in_use < self.capacity && favored.is_none_or(|(first, _)| arrival == *first)
    }
}

impl<J: Clone> Lines<J> {
    pub(crate) fn new() -> Self {
        Self {
            limits: Slots::new(),
            lines: Slots::new(),
            tickets: Slots::new(),
            keys: HashMap::new(),
            arrivals: 0,
        }
    }

    pub(crate) fn add_limit(&mut self, capacity: usize) -> LimitId {
        LimitId(self.limits.insert(Limit::new(capacity)))
    }

    /// A line for tickets of these limits. It stays.
    pub(crate) fn add_line(&mut self, limits: &[LimitId]) -> LineId {
        let mut limits = limits.to_vec();
        limits.sort_unstable();
        limits.dedup();
        // One ticket more than it has: it is never removed.
        let line = Line::new(limits.into(), None);
        LineId(self.lines.insert(Line { tickets: 1, ..line }))
    }

    /// The line for tickets of the limits of `line` and of one more, which is that of this key.
    fn line_of_key(&mut self, line: LineId, key: &Arc<str>, capacity: usize) -> LineId {
        let by = (line, key.clone());
        if let Some(line) = self.keys.get(&by) {
            return *line;
        }
        let own = self.add_limit(capacity);
        let limits = self.lines.get(line.0).map(|line| line.limits.to_vec());
        let limits = limits.unwrap_or_default().into_iter().chain([own]);
        let new = Line::new(limits.collect(), Some(by.clone()));
        let new = LineId(self.lines.insert(new));
        self.keys.insert(by, new);
        new
    }

    /// A new ticket. `key` has a limit of its own, of this capacity. Adds to `granted` what else
    /// can start now.
    pub(crate) fn enter(
        &mut self,
        line: LineId,
        key: Option<(&Arc<str>, usize)>,
        (priority, due): (i8, WallNanos),
        job: J,
        granted: &mut Vec<J>,
    ) -> Entered {
        let line = match key {
            Some((key, capacity)) => self.line_of_key(line, key, capacity),
            None => line,
        };
        self.arrivals += 1;
        let order = Order {
            priority: Reverse(priority),
            due,
            arrival: self.arrivals,
        };
        let is_first = self.lines.get(line.0).is_none_or(Line::is_empty);
        let blocked = self.blocked_by(line, order.arrival).filter(|_| is_first);
        let places = is_first && blocked.is_none();
        let ticket = TicketId::of(self.tickets.insert(Ticket {
            line,
            order,
            waits: (!places).then_some(job),
            is_favored: false,
        }));
        let limits = self.arrive(line, ticket, order.arrival, !places);
        if places {
            self.take(&limits);
            let mut changed = Vec::new();
            self.favor_overtaken(&limits, &mut changed);
            self.serve(&changed, granted);
            return Entered::Placed(ticket);
        }
        if let Some(line) = self.lines.get_mut(line.0) {
            line.waiting.push(Reverse((order, ticket)));
        }
        self.watch(line);
        Entered::Waits(ticket)
    }

    /// Counts a ticket at each of its limits.
    fn arrive(
        &mut self,
        line: LineId,
        ticket: TicketId,
        arrival: u64,
        waits: bool,
    ) -> Arc<[LimitId]> {
        let Some(line) = self.lines.get_mut(line.0) else {
            return Arc::from([]);
        };
        line.tickets += 1;
        let limits = line.limits.clone();
        for limit in limits.iter() {
            let Some(limit) = self.limits.get_mut(limit.0) else {
                continue;
            };
            if waits {
                limit.waiting.push_back(WaitingTicket {
                    arrival,
                    before: limit.arrived,
                    left_before: std::mem::take(&mut limit.left_last),
                    ticket: Some(ticket),
                });
            }
            limit.arrived += 1;
        }
        limits
    }

    /// A limit that keeps the tickets of a line from starting.
    fn blocked_by(&self, line: LineId, arrival: u64) -> Option<LimitId> {
        let line = self.lines.get(line.0)?;
        let is_blocked = |limit: &&LimitId| {
            let limit = self.limits.get(limit.0);
            limit.is_some_and(|limit| !limit.is_free_for(arrival))
        };
        line.limits.iter().find(is_blocked).copied()
    }

    fn take(&mut self, limits: &[LimitId]) {
        for limit in limits {
            if let Some(limit) = self.limits.get_mut(limit.0) {
                limit.in_use += 1;
                limit.taken += 1;
            }
        }
    }

    /// The first ticket of a line that waits.
    fn first_of(&mut self, line: LineId) -> Option<(Order, TicketId)> {
        let line = self.lines.get_mut(line.0)?;
        while let Some(Reverse((order, ticket))) = line.waiting.peek().copied() {
            let found = self.tickets.get(ticket.index());
            if found.is_some_and(|found| found.order == order && found.waits.is_some()) {
                return Some((order, ticket));
            }
            line.waiting.pop();
            line.stale = line.stale.saturating_sub(1);
        }
        None
    }

    /// Has a line watch a limit that its first ticket can't take. If it can take all, or the line
    /// has no ticket, it watches none. Returns the ticket that can take its limits.
    fn watch(&mut self, line: LineId) -> Option<TicketId> {
        let first = self.first_of(line);
        let blocked = first.and_then(|(order, _)| self.blocked_by(line, order.arrival));
        let watches = first.zip(blocked).map(|((order, _), limit)| (limit, order));
        let place = self.lines.get_mut(line.0)?;
        let before = std::mem::replace(&mut place.watches, watches);
        if before != watches {
            if let Some((limit, order)) = before
                && let Some(limit) = self.limits.get_mut(limit.0)
            {
                limit.watchers.remove(&(order, line));
            }
            if let Some((limit, order)) = watches
                && let Some(limit) = self.limits.get_mut(limit.0)
            {
                limit.watchers.insert((order, line));
            }
        }
        first
            .filter(|_| blocked.is_none())
            .map(|(_, ticket)| ticket)
    }

    /// A ticket that waits takes its limits. Adds to `changed` the limits that have to be served.
    fn grant(&mut self, ticket: TicketId, granted: &mut Vec<J>, changed: &mut Vec<LimitId>) {
        let Some(found) = self.tickets.get_mut(ticket.index()) else {
            return;
        };
        granted.extend(found.waits.take());
        let (line, was_favored) = (found.line, std::mem::take(&mut found.is_favored));
        let arrival = found.order.arrival;
        let Some(place) = self.lines.get_mut(line.0) else {
            return;
        };
        place.stale += 1;
        let limits = place.limits.clone();
        self.take(&limits);
        for limit in limits.iter() {
            if let Some(limit) = self.limits.get_mut(limit.0) {
                limit.stale += 1;
            }
        }
        if was_favored {
            self.unfavor(&limits, arrival, ticket);
            // They were kept for it, and may have room for others.
            changed.extend(limits.iter());
        }
        self.favor_overtaken(&limits, changed);
    }

    fn unfavor(&mut self, limits: &[LimitId], arrival: u64, ticket: TicketId) {
        for limit in limits {
            if let Some(limit) = self.limits.get_mut(limit.0) {
                limit.favored.remove(&(arrival, ticket));
            }
        }
    }

    /// Favors the tickets that were overtaken too often at one of these limits, which have been
    /// taken. Adds their limits to `changed`: one of them may be free, and kept for a later
    /// ticket until now.
    fn favor_overtaken(&mut self, limits: &[LimitId], changed: &mut Vec<LimitId>) {
        for id in limits {
            let Some(limit) = self.limits.get_mut(id.0) else {
                continue;
            };
            if limit.taken < limit.look_again_at {
                continue;
            }
            for (arrival, ticket) in overtaken(limit, &self.tickets) {
                let Some(found) = self.tickets.get_mut(ticket.index()) else {
                    continue;
                };
                if std::mem::replace(&mut found.is_favored, true) {
                    continue;
                }
                let line = found.line;
                let own = self.lines.get(line.0).map(|line| line.limits.clone());
                for id in own.iter().flat_map(|own| own.iter()) {
                    if let Some(limit) = self.limits.get_mut(id.0) {
                        limit.favored.insert((arrival, ticket));
                        changed.push(*id);
                    }
                }
            }
        }
    }

    /// `limits` have changed: the tickets that can take their limits now take them, and are added
    /// to `granted`.
    fn serve(&mut self, limits: &[LimitId], granted: &mut Vec<J>) {
        let is_wanted = |id: &LimitId| {
            let limit = self.limits.get(id.0);
            limit.is_some_and(|it| !it.watchers.is_empty() || !it.favored.is_empty())
        };
        if !limits.iter().any(is_wanted) {
            return;
        }
        let mut changed: Vec<LimitId> = limits.to_vec();
        while let Some(id) = changed.pop() {
            while let Some(limit) = self.limits.get(id.0) {
                if limit.in_use >= limit.capacity {
                    break;
                }
                if let Some((arrival, ticket)) = limit.favored.first().copied() {
                    let line = self.tickets.get(ticket.index()).map(|ticket| ticket.line);
                    let is_next = line.filter(|line| self.blocked_by(*line, arrival).is_none());
                    if let Some(line) = is_next {
                        self.grant(ticket, granted, &mut changed);
                        if self.watch(line).is_some() {
                            self.watch_at(line, id);
                        }
                        continue;
                    }
                }
                let Some((_, line)) = limit.watchers.first().copied() else {
                    break;
                };
                match self.watch(line) {
                    Some(ticket) => {
                        self.grant(ticket, granted, &mut changed);
                        if self.watch(line).is_some() {
                            // It can take more. It is looked at again, in its order.
                            self.watch_at(line, id);
                        }
                    }
                    None => {
                        let now = self.lines.get(line.0).and_then(|line| line.watches);
                        if now.is_some_and(|(limit, _)| limit == id) {
                            // The limit is kept for a favored ticket.
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Has a line whose first ticket can start watch this limit, which is being served.
    fn watch_at(&mut self, line: LineId, limit: LimitId) {
        let Some((order, _)) = self.first_of(line) else {
            return;
        };
        if let Some(place) = self.lines.get_mut(line.0) {
            place.watches = Some((limit, order));
        }
        if let Some(limit) = self.limits.get_mut(limit.0) {
            limit.watchers.insert((order, line));
        }
    }

    /// Removes a ticket: what it has taken is free again. Adds to `granted` the jobs that can start
    /// now.
    pub(crate) fn leave(&mut self, ticket: TicketId, granted: &mut Vec<J>) {
        let Some(gone) = self.tickets.remove(ticket.index()) else {
            return;
        };
        let line = gone.line;
        let arrival = gone.order.arrival;
        let Some(place) = self.lines.get_mut(line.0) else {
            return;
        };
        place.tickets -= 1;
        let limits = place.limits.clone();
        if gone.waits.is_some() {
            place.stale += 1;
            if place.stale > FEW_STALE && place.stale > place.waiting.len() / 2 {
                let tickets = &self.tickets;
                place.waiting.retain(|Reverse((order, ticket))| {
                    let found = tickets.get(ticket.index());
                    found.is_some_and(|found| found.order == *order && found.waits.is_some())
                });
                place.stale = 0;
            }
            for limit in limits.iter() {
                let Some(limit) = self.limits.get_mut(limit.0) else {
                    continue;
                };
                let at = limit
                    .waiting
                    .binary_search_by_key(&arrival, |it| it.arrival);
                if let Ok(at) = at
                    && let Some(waiting) = limit.waiting.get_mut(at)
                {
                    waiting.ticket = None;
                    limit.stale += 1;
                    compact(limit, &self.tickets);
                }
            }
            if gone.is_favored {
                self.unfavor(&limits, arrival, ticket);
            }
            let can_start = self.watch(line);
            if can_start.is_some()
                && let Some(first) = limits.first()
            {
                self.watch_at(line, *first);
            }
        } else {
            for limit in limits.iter() {
                if let Some(limit) = self.limits.get_mut(limit.0) {
                    limit.in_use -= 1;
                }
            }
        }
        self.serve(&limits, granted);
        for limit in limits.iter() {
            if let Some(limit) = self.limits.get_mut(limit.0) {
                remove_first(limit, &self.tickets);
            }
        }
        self.remove_unused(line);
    }

    /// Removes the line of a key without tickets, and the limit of the key.
    fn remove_unused(&mut self, line: LineId) {
        let is_unused = |line: &&Line| line.key.is_some() && line.tickets == 0;
        if self.lines.get(line.0).filter(is_unused).is_none() {
            return;
        }
        let Some(gone) = self.lines.remove(line.0) else {
            return;
        };
        if let Some(key) = gone.key {
            self.keys.remove(&key);
        }
        if let Some(own) = gone.limits.last() {
            self.limits.remove(own.0);
        }
    }

    /// The capacity of a limit changes. Adds to `granted` what can start now.
    pub(crate) fn set_capacity(&mut self, limit: LimitId, capacity: usize, granted: &mut Vec<J>) {
        if let Some(limit) = self.limits.get_mut(limit.0) {
            limit.capacity = capacity;
        }
        self.serve(&[limit], granted);
    }

    /// The limit that a ticket waits for. `None` if it does not wait.
    pub(crate) fn waits_for(&self, ticket: TicketId) -> Option<WaitsFor> {
        let found = self.tickets.get(ticket.index())?;
        found.waits.as_ref()?;
        let line = self.lines.get(found.line.0)?;
        let limit = self.blocked_by(found.line, found.order.arrival);
        let limit = limit.or(line.watches.map(|(limit, _)| limit))?;
        let is_of_key = line.limits.last() == Some(&limit);
        let key = line.key.as_ref().filter(|_| is_of_key);
        Some(match key {
            Some((_, key)) => WaitsFor::Key(key.clone()),
            None => WaitsFor::Limit(limit),
        })
    }

    /// The limits of one unit that tickets of a line need, with that of a key.
    pub(crate) fn limits_of_one(&self, line: LineId, key: Option<&Arc<str>>) -> Vec<LimitId> {
        let of_key = key.and_then(|key| self.keys.get(&(line, key.clone())));
        let line = self.lines.get(of_key.unwrap_or(&line).0);
        let limits = line.map_or(&[][..], |line| &line.limits).iter().copied();
        let is_one = |id: &LimitId| self.limits.get(id.0).is_some_and(|it| it.capacity == 1);
        limits.filter(is_one).collect()
    }

    /// Whether a ticket has taken one of these limits.
    pub(crate) fn holds_any(&self, ticket: TicketId, limits: &[LimitId]) -> bool {
        let found = self.tickets.get(ticket.index());
        let found = found.filter(|found| found.waits.is_none());
        let line = found.and_then(|found| self.lines.get(found.line.0));
        line.is_some_and(|line| line.limits.iter().any(|limit| limits.contains(limit)))
    }
}

/// What a ticket waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Limit(LimitId),
    Key(Arc<str>),
}

impl Line {
    fn new(limits: Arc<[LimitId]>, key: Option<(LineId, Arc<str>)>) -> Self {
        Self {
            limits,
            waiting: BinaryHeap::new(),
            stale: 0,
            watches: None,
            tickets: 0,
            key,
        }
    }

    /// Whether no ticket waits.
    fn is_empty(&self) -> bool {
        self.waiting.len() == self.stale
    }
}

/// Whether the ticket of this entry still waits.
fn waits<J>(entry: &WaitingTicket, tickets: &Slots<Ticket<J>>) -> bool {
    let found = entry.ticket.and_then(|ticket| tickets.get(ticket.index()));
    found.is_some_and(|it| it.order.arrival == entry.arrival && it.waits.is_some())
}

/// Removes the first entries that do not wait any more.
fn remove_first<J>(limit: &mut Limit, tickets: &Slots<Ticket<J>>) {
    while let Some(first) = limit.waiting.front().filter(|it| !waits(it, tickets)) {
        limit.left_before += u64::from(first.left_before) + u64::from(first.ticket.is_none());
        limit.stale = limit.stale.saturating_sub(1);
        limit.waiting.pop_front();
    }
}

/// Removes the entries that do not wait any more if they are more than half.
fn compact<J>(limit: &mut Limit, tickets: &Slots<Ticket<J>>) {
    if limit.stale <= FEW_STALE || limit.stale <= limit.waiting.len() / 2 {
        return;
    }
    let mut left = 0;
    limit.waiting.retain_mut(|entry| {
        left += entry.left_before;
        if waits(entry, tickets) {
            entry.left_before = std::mem::take(&mut left);
            return true;
        }
        left += u32::from(entry.ticket.is_none());
        false
    });
    limit.stale = 0;
    limit.left_last += left;
}

/// The tickets that wait for a limit and were overtaken too often, by arrival.
fn overtaken<J>(limit: &mut Limit, tickets: &Slots<Ticket<J>>) -> Vec<(u64, TicketId)> {
    remove_first(limit, tickets);
    let mut found = Vec::new();
    // Of those that came before a ticket: all but these have taken the limit.
    let (mut left, mut waiting) = (limit.left_before, 0);
    let mut most = 0;
    for entry in &limit.waiting {
        left += u64::from(entry.left_before);
        let Some(ticket) = entry.ticket else {
            left += 1;
            continue;
        };
        if !waits(entry, tickets) {
            continue;
        }
        let taken_before = entry.before - left - waiting;
        let overtaken = limit.taken - taken_before;
        if overtaken < OVERTAKEN {
            most = overtaken;
            break;
        }
        found.push((entry.arrival, ticket));
        waiting += 1;
    }
    limit.look_again_at = limit.taken + OVERTAKEN - most;
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A ticket of the model.
    #[derive(Clone, Debug)]
    struct Entry {
        ticket: TicketId,
        limits: Vec<usize>,
        key: Option<u8>,
        order: Order,
        is_placed: bool,
        /// How many later ones have overtaken it, at each limit and at its key.
        overtaken: BTreeMap<usize, u64>,
    }

    /// The rules, without a structure that makes them fast.
    struct Model {
        capacities: Vec<usize>,
        entries: BTreeMap<u32, Entry>,
    }

    const KEY: usize = 100;

    impl Entry {
        fn all(&self) -> Vec<usize> {
            let key = self.key.map(|key| KEY + usize::from(key));
            self.limits.iter().copied().chain(key).collect()
        }

        fn is_favored(&self) -> bool {
            self.overtaken.values().any(|times| *times >= OVERTAKEN)
        }
    }

    impl Model {
        fn capacity(&self, limit: usize) -> usize {
            self.capacities.get(limit).copied().unwrap_or(1)
        }

        fn may_start(&self, entry: &Entry) -> bool {
            entry.all().iter().all(|limit| {
                let others = self.entries.values().filter(|it| it.all().contains(limit));
                let used = others.clone().filter(|it| it.is_placed).count();
                let mut favored = others.filter(|it| !it.is_placed && it.is_favored());
                used < self.capacity(*limit)
                    && !favored
                        .any(|it| it.order.arrival < entry.order.arrival || !entry.is_favored())
            })
        }

        fn start(&mut self, id: u32) {
            let entry = self.entries.get_mut(&id).unwrap();
            entry.is_placed = true;
            let started = entry.clone();
            for other in self.entries.values_mut().filter(|it| !it.is_placed) {
                for limit in started.all() {
                    let is_later = started.order.arrival > other.order.arrival;
                    if is_later && other.all().contains(&limit) {
                        *other.overtaken.entry(limit).or_default() += 1;
                    }
                }
            }
        }

        /// Whether somebody who waits may start.
        fn somebody_may_start(&self) -> Option<u32> {
            let mut waiting = self.entries.iter().filter(|(_, it)| !it.is_placed);
            waiting
                .find(|(_, it)| self.may_start(it))
                .map(|(id, _)| *id)
        }
    }

    /// Random steps: the lines do what the rules say.
    fn check(seed: u64, steps: usize, tickets: usize) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut lines: Lines<u32> = Lines::new();
        let capacities = vec![1, 2, 1, 3];
        let limits: Vec<_> = capacities.iter().map(|it| lines.add_limit(*it)).collect();
        let sets = [vec![], vec![0], vec![1], vec![0, 1], vec![1, 2, 3], vec![3]];
        let ids: Vec<_> = sets
            .iter()
            .map(|set| lines.add_line(&set.iter().map(|it| limits[*it]).collect::<Vec<_>>()))
            .collect();
        let mut model = Model {
            capacities,
            entries: BTreeMap::new(),
        };
        let mut arrivals = 0;
        for step in 0..steps as u32 {
            let mut granted = Vec::new();
            let is_full = model.entries.len() >= tickets;
            match rng.u8(..10) {
                0..6 if !is_full => {
                    let set = rng.usize(..sets.len());
                    let key = rng.bool().then(|| rng.u8(..3));
                    let (priority, due) = (rng.i8(-1..2), rng.i64(..4));
                    arrivals += 1;
                    let name: Option<Arc<str>> = key.map(|key| format!("{set} {key}").into());
                    let key = key.map(|key| key + 10 * set as u8);
                    let by = name.as_ref().map(|name| (name, 1));
                    let entered = lines.enter(ids[set], by, (priority, due), step, &mut granted);
                    let (Entered::Placed(ticket) | Entered::Waits(ticket)) = entered;
                    let entry = Entry {
                        ticket,
                        limits: sets[set].clone(),
                        key,
                        order: Order {
                            priority: Reverse(priority),
                            due,
                            arrival: arrivals,
                        },
                        is_placed: false,
                        overtaken: BTreeMap::new(),
                    };
                    let may_start = model.may_start(&entry);
                    model.entries.insert(step, entry);
                    assert_eq!(matches!(entered, Entered::Placed(_)), may_start);
                    if may_start {
                        model.start(step);
                    }
                }
                6 => {
                    let limit = rng.usize(..model.capacities.len());
                    model.capacities[limit] = rng.usize(..4);
                    let capacity = model.capacities[limit];
                    lines.set_capacity(limits[limit], capacity, &mut granted);
                }
                _ => {
                    let ids: Vec<_> = model.entries.keys().copied().collect();
                    if let Some(id) = rng.choice(ids) {
                        let gone = model.entries.remove(&id).unwrap();
                        lines.leave(gone.ticket, &mut granted);
                    }
                }
            }
            for id in granted {
                let entry = model.entries[&id].clone();
                assert!(
                    !entry.is_placed && model.may_start(&entry),
                    "seed {seed}: {entry:?}"
                );
                // Nobody of its own limits comes before it.
                let better = model.entries.values().find(|other| {
                    !other.is_placed
                        && other.all() == entry.all()
                        && other.order < entry.order
                        && !entry.is_favored()
                });
                assert!(better.is_none(), "seed {seed}: {entry:?} before {better:?}");
                model.start(id);
            }
            let left = model.somebody_may_start();
            assert_eq!(
                left,
                None,
                "seed {seed}, step {step}: {:?}",
                left.map(|id| &model.entries[&id])
            );
            for entry in model.entries.values() {
                let waits = lines.waits_for(entry.ticket).is_some();
                assert_eq!(waits, !entry.is_placed, "seed {seed}: {entry:?}");
                assert!(entry.overtaken.values().all(|times| *times <= OVERTAKEN));
            }
        }
        let left: Vec<_> = model.entries.values().map(|entry| entry.ticket).collect();
        for ticket in left {
            lines.leave(ticket, &mut Vec::new());
        }
        assert!(lines.keys.is_empty() && lines.tickets.slots.is_empty());
        assert_eq!(lines.lines.slots.iter().flatten().count(), sets.len());
    }

    #[test]
    fn limits_are_taken_together_and_nobody_waits_who_could_start() {
        for seed in 0..150 {
            check(seed, 200, 30);
        }
    }

    #[test]
    fn nobody_is_overtaken_more_often_than_allowed() {
        let mut lines: Lines<u32> = Lines::new();
        let limits = [lines.add_limit(1), lines.add_limit(1)];
        let both = lines.add_line(&limits);
        let one = lines.add_line(&limits[..1]);
        let other = lines.add_line(&limits[1..]);
        // One limit or the other is always taken, so that both are never free together.
        let mut granted = Vec::new();
        let ticket = |entered| match entered {
            Entered::Placed(ticket) | Entered::Waits(ticket) => ticket,
        };
        let mut held = [
            ticket(lines.enter(one, None, (0, 0), 1, &mut granted)),
            ticket(lines.enter(other, None, (0, 0), 2, &mut granted)),
        ];
        let Entered::Waits(low) = lines.enter(both, None, (-1, 0), 0, &mut granted) else {
            panic!("both are taken");
        };
        let mut overtaken = 0;
        for round in 0..5 * OVERTAKEN {
            let line = [one, other][round as usize % 2];
            let next = ticket(lines.enter(line, None, (0, 0), 3, &mut granted));
            let gone = std::mem::replace(&mut held[round as usize % 2], next);
            lines.leave(gone, &mut granted);
            if lines.waits_for(low).is_none() {
                break;
            }
            overtaken += 1;
        }
        assert!(granted.contains(&0), "it has had its turn");
        assert!(overtaken <= 2 * OVERTAKEN + 2, "{overtaken}");
    }
}
