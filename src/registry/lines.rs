//! [`Lines`]: who waits for which limits.
//!
//! A *ticket* is an attempt that takes one unit of each limit that its job has, all of them
//! together or none. A ticket that cannot take them waits. Tickets of the same limits wait in
//! one *line*, the best of them first: by priority, then by due time, then by arrival. A line
//! that has waiting tickets *watches* one limit that its first ticket cannot take. Only if that
//! limit changes, the line has to be looked at again: so the release of a limit costs no look at
//! lines that wait for others.
//!
//! A ticket that [`OVERTAKEN`] later ones have overtaken at one of its limits is *favored*. It goes
//! through its limits in a fixed order ([`Line::limits`]) up to the first that is full. At each of
//! these, the next free unit, or the next start of a rate, is *kept* for it: no later ticket takes
//! it. The limit of the app comes last, so nothing is kept there while the ticket waits for another
//! job of its key or for its rate. Of favored tickets, the first that came is served first. They
//! never wait for each other in a circle, because each waits for earlier ones only.
//!
//! A rate is a limit too. A ticket takes it only if it may start now, and its end does not free it.
//! If a ticket waits for a rate, the lines say when they have to be looked at
//! ([`Lines::next_look`]).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::registry::gcra::Gcra;
use crate::sync::primitives::Arc;
use crate::value::time_units::{MonoNanos, WallNanos};

/// A ticket is favored when this many later tickets have taken one of its limits before it.
pub(crate) const OVERTAKEN: u64 = if cfg!(test) { 3 } else { 1_000 };

/// A list is cleaned up only if more than this many of its entries do not wait any more.
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
    /// When the next may take it. `None` for a limit of the attempts that run.
    rate: Option<Gcra>,
    /// When it is to be looked at, because of its rate.
    look_at: Option<MonoNanos>,
    /// The key whose limit it is, and how many lines have it.
    of_key: Option<(KeyLimit, usize)>,
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
    /// The favored tickets that it is kept for, by arrival.
    favored: BTreeSet<(u64, TicketId)>,
    /// Of the tickets that came before the first of `waiting`, those that wait, and are favored.
    favored_before: u64,
    /// While `taken` is less than this, no other ticket has been overtaken too often.
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
    /// In the order in which they are kept for a favored ticket: the rate of the key, the limit of the
    /// key, the other rates, the other limits. The newest comes first, so that the limit of the app is
    /// the last. Shared, so that a step can go through them while it changes the line.
    limits: Arc<[LimitId]>,
    waiting: Queue,
    /// The entries of `waiting` that do not wait any more.
    stale: usize,
    /// The limit that it watches, and the order under which.
    watches: Option<(LimitId, Order)>,
    /// Its tickets, with those that have their limits.
    tickets: usize,
    /// `None` for tickets without a key.
    keys: Option<LineKeys>,
}

/// The keys that tickets of a line have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LineKeys {
    /// The line of tickets without a key.
    line: LineId,
    limit: Option<Arc<str>>,
    rate: Option<Arc<str>>,
}

/// The limit of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct KeyLimit {
    line: LineId,
    is_rate: bool,
    key: Arc<str>,
}

/// The keys of a ticket: each has a limit or a rate of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keys<'a> {
    pub(crate) limit: Option<(&'a Arc<str>, usize)>,
    pub(crate) rate: Option<(&'a Arc<str>, Gcra)>,
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
    lines_of_keys: HashMap<LineKeys, LineId>,
    limits_of_keys: HashMap<KeyLimit, LimitId>,
    arrivals: u64,
    /// Favored tickets that could take all their limits when that was last looked at. Empty between
    /// steps.
    ready: Vec<TicketId>,
    /// The time of this step.
    now: MonoNanos,
    /// When rates are to be looked at, with entries that do not count any more: those of
    /// another time than the limit says.
    looks: BinaryHeap<Reverse<(MonoNanos, LimitId)>>,
    /// The next look is earlier than [`next_look`](Lines::next_look) has said.
    is_look_earlier: bool,
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

/// Tickets in their order. Most come in it: these need no heap. For a limit of 8 in W11 of
/// `benches/peers`, a job takes 2.6 µs of CPU time, and 3.8 µs if all are in the heap.
#[derive(Debug, Default)]
struct Queue {
    in_order: VecDeque<(Order, TicketId)>,
    /// Those that came before the last one of `in_order`.
    others: BinaryHeap<Reverse<(Order, TicketId)>>,
}

impl Queue {
    fn len(&self) -> usize {
        self.in_order.len() + self.others.len()
    }

    fn push(&mut self, entry: (Order, TicketId)) {
        match self.in_order.back() {
            Some(last) if *last > entry => self.others.push(Reverse(entry)),
            _ => self.in_order.push_back(entry),
        }
    }

    fn first(&self) -> Option<(Order, TicketId)> {
        let other = self.others.peek().map(|Reverse(entry)| entry);
        self.in_order
            .front()
            .into_iter()
            .chain(other)
            .min()
            .copied()
    }

    fn remove_first(&mut self) {
        let first = self.first();
        match self.in_order.front().copied() == first {
            true => drop(self.in_order.pop_front()),
            false => drop(self.others.pop()),
        }
    }

    fn retain(&mut self, keeps: impl Fn(&(Order, TicketId)) -> bool) {
        self.in_order.retain(&keeps);
        self.others.retain(|Reverse(entry)| keeps(entry));
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
            rate: None,
            look_at: None,
            of_key: None,
            watchers: BTreeSet::new(),
            waiting: VecDeque::new(),
            stale: 0,
            arrived: 0,
            taken: 0,
            left_before: 0,
            left_last: 0,
            favored: BTreeSet::new(),
            favored_before: 0,
            look_again_at: OVERTAKEN,
        }
    }

    fn of_rate(rate: Gcra) -> Self {
        let rate = Some(rate);
        let limit = Self::new(usize::MAX);
        Self { rate, ..limit }
    }

    /// Whether a unit is left after those that are kept for favored tickets. A favored ticket counts
    /// only those of earlier ones.
    fn is_free_for(&self, (arrival, is_favored): (u64, bool), now: MonoNanos) -> bool {
        let room = self.room(now);
        if self.favored.len() < room {
            return true;
        }
        // One unit is kept for each earlier one.
        let last = room.checked_sub(1).filter(|_| is_favored);
        let last = last.and_then(|last| self.nth_favored(last));
        last.is_some_and(|(other, _)| *other >= arrival)
    }

    /// Counts from the nearer end: there may be many.
    fn nth_favored(&self, index: usize) -> Option<&(u64, TicketId)> {
        let after = self.favored.len().checked_sub(index + 1)?;
        match index <= after {
            true => self.favored.iter().nth(index),
            false => self.favored.iter().nth_back(after),
        }
    }

    /// How many tickets could take it now.
    fn room(&self, now: MonoNanos) -> usize {
        match self.rate {
            Some(rate) => usize::from(rate.next_start() <= now),
            None => self.capacity.saturating_sub(self.in_use),
        }
    }

    /// Whether this favored ticket, which waits, is in `waiting` no more: [`overtaken`] has taken it
    /// out.
    fn has_left_list(&self, arrival: u64) -> bool {
        let first = self.waiting.front();
        first.is_none_or(|first| arrival < first.arrival)
    }

    fn has_room(&self, now: MonoNanos) -> bool {
        self.room(now) > 0
    }

    fn is_wanted(&self) -> bool {
        !self.watchers.is_empty() || !self.favored.is_empty()
    }
}

impl<J: Clone> Lines<J> {
    pub(crate) fn new() -> Self {
        Self {
            limits: Slots::new(),
            lines: Slots::new(),
            tickets: Slots::new(),
            lines_of_keys: HashMap::new(),
            limits_of_keys: HashMap::new(),
            arrivals: 0,
            ready: Vec::new(),
            now: MonoNanos::MIN,
            looks: BinaryHeap::new(),
            is_look_earlier: false,
        }
    }

    /// What comes next happens at this time. It does not go back.
    pub(crate) fn set_now(&mut self, now: MonoNanos) {
        self.now = self.now.max(now);
    }

    pub(crate) fn add_limit(&mut self, capacity: usize) -> LimitId {
        LimitId(self.limits.insert(Limit::new(capacity)))
    }

    pub(crate) fn add_rate(&mut self, rate: Gcra) -> LimitId {
        LimitId(self.limits.insert(Limit::of_rate(rate)))
    }

    fn is_rate(&self, id: LimitId) -> bool {
        let limit = self.limits.get(id.0);
        limit.is_some_and(|limit| limit.rate.is_some())
    }

    /// A line for tickets of these limits. It stays: only lines of keys are removed.
    pub(crate) fn add_line(&mut self, limits: &[LimitId]) -> LineId {
        let mut limits = limits.to_vec();
        limits.sort_by_key(|id| (!self.is_rate(*id), Reverse(*id)));
        limits.dedup();
        LineId(self.lines.insert(Line::new(limits.into(), None)))
    }

    /// The line for tickets of the limits of `line` and of those of these keys.
    fn line_of_keys(&mut self, line: LineId, keys: Keys<'_>) -> LineId {
        let by = LineKeys {
            line,
            limit: keys.limit.map(|(key, _)| key.clone()),
            rate: keys.rate.map(|(key, _)| key.clone()),
        };
        if let Some(line) = self.lines_of_keys.get(&by) {
            return *line;
        }
        let limits = self.lines.get(line.0).map(|line| line.limits.to_vec());
        let mut limits = limits.unwrap_or_default();
        if let Some((key, capacity)) = keys.limit {
            limits.insert(0, self.limit_of_key(line, key, Limit::new(capacity)));
        }
        if let Some((key, rate)) = keys.rate {
            limits.insert(0, self.limit_of_key(line, key, Limit::of_rate(rate)));
        }
        let new = LineId(
            self.lines
                .insert(Line::new(limits.into(), Some(by.clone()))),
        );
        self.lines_of_keys.insert(by, new);
        new
    }

    /// The limit of a key, for one more line: `new`, if it has none.
    fn limit_of_key(&mut self, line: LineId, key: &Arc<str>, mut new: Limit) -> LimitId {
        let of = KeyLimit {
            line,
            is_rate: new.rate.is_some(),
            key: key.clone(),
        };
        if let Some(id) = self.limits_of_keys.get(&of).copied() {
            let found = self.limits.get_mut(id.0).and_then(|it| it.of_key.as_mut());
            if let Some((_, lines)) = found {
                *lines += 1;
            }
            return id;
        }
        new.of_key = Some((of.clone(), 1));
        let id = LimitId(self.limits.insert(new));
        self.limits_of_keys.insert(of, id);
        id
    }

    /// A new ticket. Adds to `granted` what else can start now.
    pub(crate) fn enter(
        &mut self,
        line: LineId,
        keys: Option<Keys<'_>>,
        (priority, due): (i8, WallNanos),
        job: J,
        granted: &mut Vec<J>,
    ) -> Entered {
        let line = keys.map_or(line, |keys| self.line_of_keys(line, keys));
        self.arrivals += 1;
        let order = Order {
            priority: Reverse(priority),
            due,
            arrival: self.arrivals,
        };
        let is_first = self.lines.get(line.0).is_none_or(Line::is_empty);
        let blocked = self.blocked_by(line, (order.arrival, false));
        let blocked = blocked.filter(|_| is_first);
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
            line.waiting.push((order, ticket));
        }
        self.watch(line);
        Entered::Waits(ticket)
    }

    /// Counts a ticket at each of its limits. One that waits is put into their lists.
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

    /// The first limit that this ticket of a line cannot take.
    fn blocked_by(&self, line: LineId, ticket: (u64, bool)) -> Option<LimitId> {
        let line = self.lines.get(line.0)?;
        let is_blocked = |limit: &&LimitId| {
            let limit = self.limits.get(limit.0);
            limit.is_some_and(|limit| !limit.is_free_for(ticket, self.now))
        };
        line.limits.iter().find(is_blocked).copied()
    }

    /// The arrival of a ticket, and whether it is favored.
    fn place_of(&self, ticket: TicketId) -> Option<(u64, bool)> {
        let found = self.tickets.get(ticket.index())?;
        Some((found.order.arrival, found.is_favored))
    }

    fn take(&mut self, limits: &[LimitId]) {
        for limit in limits {
            if let Some(limit) = self.limits.get_mut(limit.0) {
                limit.in_use += 1;
                limit.taken += 1;
                if let Some(rate) = &mut limit.rate {
                    rate.take(self.now);
                }
            }
        }
    }

    /// The first ticket of a line that waits.
    fn first_of(&mut self, line: LineId) -> Option<(Order, TicketId)> {
        let line = self.lines.get_mut(line.0)?;
        while let Some((order, ticket)) = line.waiting.first() {
            let found = self.tickets.get(ticket.index());
            if found.is_some_and(|found| found.order == order && found.waits.is_some()) {
                return Some((order, ticket));
            }
            line.waiting.remove_first();
            line.stale = line.stale.saturating_sub(1);
        }
        None
    }

    /// Has a line watch a limit that its first ticket can't take. If it can take all, or the line
    /// has no ticket, it watches none. Returns the ticket that can take its limits.
    fn watch(&mut self, line: LineId) -> Option<TicketId> {
        let first = self.first_of(line);
        let place = first.and_then(|(_, ticket)| self.place_of(ticket));
        let blocked = place.and_then(|place| self.blocked_by(line, place));
        let watches = first.zip(blocked).map(|((order, _), limit)| (limit, order));
        let place = self.lines.get_mut(line.0)?;
        let before = std::mem::replace(&mut place.watches, watches);
        if before != watches {
            // Before the other is removed, so that the set of a single line keeps its memory.
            if let Some((limit_id, order)) = watches
                && let Some(limit) = self.limits.get_mut(limit_id.0)
            {
                limit.watchers.insert((order, line));
                self.plan_look(limit_id);
            }
            if let Some((limit, order)) = before
                && let Some(limit) = self.limits.get_mut(limit.0)
            {
                limit.watchers.remove(&(order, line));
            }
        }
        first
            .filter(|_| blocked.is_none())
            .map(|(_, ticket)| ticket)
    }

    /// A ticket that waits takes its limits. Adds to `changed` the limits that have to be served.
    fn grant(&mut self, ticket: TicketId, granted: &mut Vec<J>, changed: &mut Vec<LimitId>) {
        let is_favored = self.place_of(ticket).is_some_and(|(_, favored)| favored);
        if is_favored {
            // It may take units that were kept for later tickets: these then keep less.
            self.keep(ticket, changed);
        }
        let Some(found) = self.tickets.get_mut(ticket.index()) else {
            return;
        };
        granted.extend(found.waits.take());
        found.is_favored = false;
        let (line, arrival) = (found.line, found.order.arrival);
        let Some(place) = self.lines.get_mut(line.0) else {
            return;
        };
        place.stale += 1;
        let limits = place.limits.clone();
        for limit in limits.iter() {
            let Some(limit) = self.limits.get_mut(limit.0) else {
                continue;
            };
            match is_favored && limit.has_left_list(arrival) {
                true => limit.favored_before -= 1,
                false => limit.stale += 1,
            }
            limit.favored.remove(&(arrival, ticket));
        }
        self.take(&limits);
        if is_favored {
            // Another favored ticket may be the first now, at one of its rates.
            changed.extend(limits.iter().filter(|id| self.is_rate(**id)));
        }
        self.favor_overtaken(&limits, changed);
    }

    /// Favors the tickets that were overtaken too often at one of these limits, which have been
    /// taken. Adds the limits to `changed` that are kept for them.
    fn favor_overtaken(&mut self, limits: &[LimitId], changed: &mut Vec<LimitId>) {
        for id in limits {
            let Some(limit) = self.limits.get_mut(id.0) else {
                continue;
            };
            if limit.taken < limit.look_again_at {
                continue;
            }
            for ticket in overtaken(limit, &self.tickets) {
                let Some(found) = self.tickets.get_mut(ticket.index()) else {
                    continue;
                };
                if std::mem::replace(&mut found.is_favored, true) {
                    continue;
                }
                self.keep(ticket, changed);
                // Its limits may be free, and were kept for later tickets until now.
                if self.ready.last() == Some(&ticket) {
                    changed.push(*id);
                }
            }
        }
    }

    /// Keeps the limits of a favored ticket up to the first that is full. Adds those to `changed` that
    /// are not kept any more. If none is full, the ticket is ready.
    fn keep(&mut self, ticket: TicketId, changed: &mut Vec<LimitId>) {
        let mut tickets = vec![ticket];
        while let Some(ticket) = tickets.pop() {
            let Some(found) = self.tickets.get(ticket.index()) else {
                continue;
            };
            let arrival = found.order.arrival;
            let limits = self.lines.get(found.line.0).map(|line| line.limits.clone());
            let mut is_blocked = false;
            for id in limits.iter().flat_map(|limits| limits.iter()) {
                let Some(limit) = self.limits.get_mut(id.0) else {
                    continue;
                };
                if is_blocked {
                    if limit.favored.remove(&(arrival, ticket)) {
                        changed.push(*id);
                    }
                    continue;
                }
                let is_new = limit.favored.insert((arrival, ticket));
                is_blocked = !limit.is_free_for((arrival, true), self.now);
                if is_new && !is_blocked {
                    // This unit was kept for a later ticket, which keeps less from now on.
                    let displaced = limit.nth_favored(limit.room(self.now));
                    tickets.extend(displaced.map(|(_, displaced)| *displaced));
                }
                if is_blocked {
                    self.plan_look(*id);
                }
            }
            if !is_blocked {
                self.ready.push(ticket);
            }
        }
    }

    /// `limits` have changed: the tickets that can take their limits now take them, and are added
    /// to `granted`.
    fn serve(&mut self, limits: &[LimitId], granted: &mut Vec<J>) {
        let is_wanted = |id: &LimitId| self.limits.get(id.0).is_some_and(Limit::is_wanted);
        if !limits.iter().any(is_wanted) {
            return;
        }
        let mut changed: Vec<LimitId> = limits.to_vec();
        // For how many of these the favored tickets have kept what they can.
        let mut kept = 0;
        loop {
            // First, at all of them: else another ticket could take what one of these needs next.
            while let Some(id) = changed.get(kept).copied() {
                kept += 1;
                self.keep_more(id, &mut changed);
            }
            let Some(id) = changed.pop() else { break };
            kept = changed.len();
            if self.serve_one(id, granted, &mut changed) {
                changed.push(id);
            } else {
                self.plan_look(id);
            }
        }
    }

    /// The favored tickets that can take this limit now keep the next one of theirs, too. Those that
    /// could before have kept it.
    fn keep_more(&mut self, id: LimitId, changed: &mut Vec<LimitId>) {
        let Some(limit) = self.limits.get(id.0) else {
            return;
        };
        let favored: Vec<_> = limit.favored.iter().take(limit.room(self.now)).collect();
        let is_new = |favored: &&&(u64, TicketId)| !self.keeps_after(id, favored);
        let new: Vec<_> = (favored.iter().rev().take_while(is_new))
            .map(|(_, ticket)| *ticket)
            .collect();
        for ticket in new {
            self.keep(ticket, changed);
        }
    }

    /// Whether the limit that comes after this one is kept for a favored ticket.
    fn keeps_after(&self, id: LimitId, favored: &(u64, TicketId)) -> bool {
        let ticket = self.tickets.get(favored.1.index());
        let line = ticket.and_then(|ticket| self.lines.get(ticket.line.0));
        let limits = line.map_or(&[][..], |line| &line.limits);
        let mut after = limits.iter().skip_while(|limit| **limit != id).skip(1);
        let next = after.next().and_then(|next| self.limits.get(next.0));
        next.is_some_and(|next| next.favored.contains(favored))
    }

    /// Takes out the ready ticket that came first, if one can still start.
    fn next_ready(&mut self) -> Option<(TicketId, LineId)> {
        let mut ready = std::mem::take(&mut self.ready);
        let arrival_of = |ticket: &TicketId| {
            let found = self.tickets.get(ticket.index())?;
            let waits = found.is_favored && found.waits.is_some();
            let place = (found.order.arrival, true);
            (waits && self.blocked_by(found.line, place).is_none()).then_some(place.0)
        };
        ready.retain(|ticket| arrival_of(ticket).is_some());
        let first = ready.iter().copied().min_by_key(arrival_of);
        ready.retain(|ticket| Some(*ticket) != first);
        self.ready = ready;
        let first = first?;
        Some((first, self.tickets.get(first.index())?.line))
    }

    /// Grants a favored ticket that is ready, whatever it needs; or else the first ticket that needs
    /// this limit and can take all of its limits. Returns whether there was one.
    fn serve_one(&mut self, id: LimitId, granted: &mut Vec<J>, changed: &mut Vec<LimitId>) -> bool {
        let mut next = self.next_ready();
        while next.is_none() {
            let Some(limit) = self.limits.get(id.0).filter(|it| it.has_room(self.now)) else {
                return false;
            };
            let Some((_, line)) = limit.watchers.first().copied() else {
                return false;
            };
            next = self.watch(line).map(|ticket| (ticket, line));
            let watches = self.lines.get(line.0).and_then(|line| line.watches);
            if next.is_none() && watches.is_some_and(|(limit, _)| limit == id) {
                // It is kept for favored tickets.
                return false;
            }
        }
        let Some((ticket, line)) = next else {
            return false;
        };
        self.grant(ticket, granted, changed);
        if self.watch(line).is_some() {
            // It can take more. It is looked at again, in its order.
            let limits = self.lines.get(line.0).map(|line| line.limits.clone());
            let limits = limits.unwrap_or_default();
            let needs_this = limits.contains(&id);
            if let Some(at) = limits.first().filter(|_| !needs_this) {
                changed.push(*at);
                self.watch_at(line, *at);
            } else {
                self.watch_at(line, id);
            }
        }
        true
    }

    /// Notes when this limit is to be looked at, if a ticket waits for its rate.
    fn plan_look(&mut self, id: LimitId) {
        let Some(limit) = self.limits.get_mut(id.0) else {
            return;
        };
        let Some(rate) = limit.rate else { return };
        let at = match limit.of_key {
            _ if limit.is_wanted() => rate.next_start(),
            // The rate of the key goes on when no job of the key is left.
            Some((_, 0)) => rate.recovers_at(),
            _ => return,
        };
        if at <= self.now || limit.look_at.is_some_and(|before| before <= at) {
            return;
        }
        limit.look_at = Some(at);
        let earliest = self.looks.peek();
        self.is_look_earlier |= earliest.is_none_or(|Reverse((before, _))| at < *before);
        self.looks.push(Reverse((at, id)));
    }

    /// Looks at the rates that have to be looked at now. Adds to `granted` what can start.
    pub(crate) fn look(&mut self, granted: &mut Vec<J>) {
        let mut due = Vec::new();
        while let Some(Reverse((at, id))) = self.looks.peek().copied() {
            let limit = self
                .limits
                .get_mut(id.0)
                .filter(|it| it.look_at == Some(at));
            match limit {
                Some(_) if at > self.now => break,
                Some(limit) => {
                    limit.look_at = None;
                    due.push(id);
                }
                // The limit is gone, or is to be looked at another time.
                None => {}
            }
            self.looks.pop();
        }
        // `serve` takes the last one first.
        due.reverse();
        self.serve(&due, granted);
        for id in due {
            self.plan_look(id);
            self.remove_unused_limit(id);
        }
    }

    /// When to call [`look`](Lines::look).
    pub(crate) fn next_look(&mut self) -> Option<MonoNanos> {
        self.is_look_earlier = false;
        self.looks.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether the next look is earlier than [`next_look`](Lines::next_look) has said.
    pub(crate) fn is_look_earlier(&self) -> bool {
        self.is_look_earlier
    }

    /// Has a line watch this limit although its first ticket can start. The limit is served next: that
    /// grants the ticket.
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
    ///
    /// `counts_for_rates`: if not, another may start in its place.
    pub(crate) fn leave(&mut self, ticket: TicketId, counts_for_rates: bool, granted: &mut Vec<J>) {
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
                place.waiting.retain(|(order, ticket)| {
                    let found = tickets.get(ticket.index());
                    found.is_some_and(|found| found.order == *order && found.waits.is_some())
                });
                place.stale = 0;
            }
            for limit in limits.iter() {
                let Some(limit) = self.limits.get_mut(limit.0) else {
                    continue;
                };
                limit.favored.remove(&(arrival, ticket));
                if gone.is_favored && limit.has_left_list(arrival) {
                    limit.favored_before -= 1;
                    limit.left_before += 1;
                    continue;
                }
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
                    if let Some(rate) = limit.rate.as_mut().filter(|_| !counts_for_rates) {
                        rate.give_back();
                    }
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

    /// Removes the line of keys without tickets, and the limits of the keys.
    fn remove_unused(&mut self, line: LineId) {
        let is_unused = |line: &&Line| line.keys.is_some() && line.tickets == 0;
        if self.lines.get(line.0).filter(is_unused).is_none() {
            return;
        }
        let Some(gone) = self.lines.remove(line.0) else {
            return;
        };
        if let Some(keys) = gone.keys {
            self.lines_of_keys.remove(&keys);
        }
        for id in gone.limits.iter() {
            let limit = self.limits.get_mut(id.0);
            if let Some((_, lines)) = limit.and_then(|limit| limit.of_key.as_mut()) {
                *lines -= 1;
                self.remove_unused_limit(*id);
            }
        }
    }

    /// Removes the limit of a key that no line has. A rate stays until it has recovered.
    fn remove_unused_limit(&mut self, id: LimitId) {
        let Some(limit) = self.limits.get(id.0) else {
            return;
        };
        if !matches!(limit.of_key, Some((_, 0))) {
            return;
        }
        if limit.rate.is_some_and(|rate| rate.recovers_at() > self.now) {
            self.plan_look(id);
            return;
        }
        let gone = self.limits.remove(id.0);
        if let Some((of, _)) = gone.and_then(|gone| gone.of_key) {
            self.limits_of_keys.remove(&of);
        }
    }

    /// The capacity of a limit changes. Adds to `granted` what can start now.
    pub(crate) fn set_capacity(&mut self, limit: LimitId, capacity: usize, granted: &mut Vec<J>) {
        let mut changed = vec![limit];
        if let Some(limit) = self.limits.get_mut(limit.0) {
            limit.capacity = capacity;
            let without = limit.favored.iter().skip(limit.room(self.now));
            for ticket in without.map(|(_, ticket)| *ticket).collect::<Vec<_>>() {
                self.keep(ticket, &mut changed);
            }
        }
        self.serve(&changed, granted);
    }

    /// The limit that a ticket waits for. `None` if it does not wait.
    pub(crate) fn waits_for(&self, ticket: TicketId) -> Option<WaitsFor> {
        let found = self.tickets.get(ticket.index())?;
        found.waits.as_ref()?;
        let line = self.lines.get(found.line.0)?;
        let limit = self.blocked_by(found.line, (found.order.arrival, found.is_favored));
        let limit = limit.or(line.watches.map(|(limit, _)| limit))?;
        let of_key = self.limits.get(limit.0)?.of_key.as_ref();
        Some(match of_key {
            Some((of, _)) if of.is_rate => WaitsFor::RateOfKey(of.key.clone()),
            Some((of, _)) => WaitsFor::Key(of.key.clone()),
            None => WaitsFor::Limit(limit),
        })
    }

    /// The limits of one unit that tickets of a line need, with that of a key.
    pub(crate) fn limits_of_one(&self, line: LineId, key: Option<&Arc<str>>) -> Vec<LimitId> {
        let of_key = key.and_then(|key| {
            let key = key.clone();
            let is_rate = false;
            self.limits_of_keys.get(&KeyLimit { line, is_rate, key })
        });
        let line = self.lines.get(line.0);
        let limits = line.map_or(&[][..], |line| &line.limits).iter();
        let is_one = |id: &LimitId| self.limits.get(id.0).is_some_and(|it| it.capacity == 1);
        limits.chain(of_key).copied().filter(is_one).collect()
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
    RateOfKey(Arc<str>),
}

impl Line {
    fn new(limits: Arc<[LimitId]>, keys: Option<LineKeys>) -> Self {
        Self {
            limits,
            waiting: Queue::default(),
            stale: 0,
            watches: None,
            tickets: 0,
            keys,
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

/// Removes from [`Limit::waiting`] the tickets that were overtaken too often, by arrival.
fn overtaken<J>(limit: &mut Limit, tickets: &Slots<Ticket<J>>) -> Vec<TicketId> {
    let mut found = Vec::new();
    let mut most = 0;
    loop {
        remove_first(limit, tickets);
        let Some(first) = limit.waiting.front() else {
            break;
        };
        // Those that came before it have taken the limit, except those that have left or still wait.
        let left = limit.left_before + u64::from(first.left_before);
        let taken_before = first.before - left - limit.favored_before;
        let overtaken = limit.taken - taken_before;
        if overtaken < OVERTAKEN {
            most = overtaken;
            break;
        }
        limit.left_before = left;
        limit.favored_before += 1;
        found.extend(first.ticket);
        limit.waiting.pop_front();
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
        /// With those of its keys.
        /// In the order in which they are kept.
        limits: Vec<usize>,
        order: Order,
        is_placed: bool,
        /// How many later ones have overtaken it, at each limit and at its key.
        overtaken: BTreeMap<usize, u64>,
    }

    /// The rules, without a structure that makes them fast.
    struct Model {
        capacities: Vec<usize>,
        /// All that ever were, by their limit.
        rates: BTreeMap<usize, Gcra>,
        now: i64,
        entries: BTreeMap<u32, Entry>,
    }

    /// The first limits of keys, and the first rates of keys.
    const KEY: usize = 100;
    const RATE_OF_KEY: usize = 200;

    fn rate_of_key() -> Gcra {
        Gcra::new(2, 6)
    }

    impl Entry {
        fn is_favored(&self) -> bool {
            self.overtaken.values().any(|times| *times >= OVERTAKEN)
        }
    }

    impl Model {
        fn capacity(&self, limit: usize) -> usize {
            let of_key = if limit < RATE_OF_KEY { 1 } else { usize::MAX };
            self.capacities.get(limit).copied().unwrap_or(of_key)
        }

        fn is_time(&self, limit: usize) -> bool {
            let rate = self.rates.get(&limit);
            rate.is_none_or(|rate| rate.next_start() <= self.now)
        }

        fn is_rate(&self, limit: usize) -> bool {
            self.rates.contains_key(&limit) || limit >= RATE_OF_KEY
        }

        /// How many more could take this limit now.
        fn room(&self, limit: usize) -> usize {
            let others = self.entries.values();
            let others = others.filter(|it| it.limits.contains(&limit) && it.is_placed);
            match self.is_rate(limit) {
                true => usize::from(self.is_time(limit)),
                false => self.capacity(limit).saturating_sub(others.count()),
            }
        }

        /// How often each limit is kept for favored entries that came before `arrival`.
        fn kept(&self, arrival: u64) -> BTreeMap<usize, usize> {
            let favored = self.entries.values();
            let favored =
                favored.filter(|it| !it.is_placed && it.is_favored() && it.order.arrival < arrival);
            let mut favored: Vec<_> = favored.collect();
            favored.sort_by_key(|it| it.order.arrival);
            let mut kept = BTreeMap::<usize, usize>::new();
            for entry in favored {
                for limit in &entry.limits {
                    let kept = kept.entry(*limit).or_default();
                    *kept += 1;
                    if self.room(*limit) < *kept {
                        break;
                    }
                }
            }
            kept
        }

        fn may_start(&self, entry: &Entry) -> bool {
            let kept = match entry.is_favored() {
                true => self.kept(entry.order.arrival),
                false => self.kept(u64::MAX),
            };
            let mut limits = entry.limits.iter();
            limits.all(|limit| self.room(*limit) > kept.get(limit).copied().unwrap_or(0))
        }

        fn start(&mut self, id: u32) {
            let entry = self.entries.get_mut(&id).unwrap();
            entry.is_placed = true;
            let started = entry.clone();
            for limit in &started.limits {
                if *limit >= RATE_OF_KEY {
                    self.rates.entry(*limit).or_insert_with(rate_of_key);
                }
                if let Some(rate) = self.rates.get_mut(limit) {
                    rate.take(self.now);
                }
            }
            for other in self.entries.values_mut().filter(|it| !it.is_placed) {
                for limit in &started.limits {
                    let is_later = started.order.arrival > other.order.arrival;
                    if is_later && other.limits.contains(limit) {
                        *other.overtaken.entry(*limit).or_default() += 1;
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
        let capacities = vec![1, 2, 1, 3, usize::MAX, usize::MAX];
        let rates = BTreeMap::from([(4, Gcra::new(3, 9)), (5, Gcra::new(1, 2))]);
        let add = |(at, capacity): (usize, &usize)| match rates.get(&at) {
            Some(rate) => lines.add_rate(*rate),
            None => lines.add_limit(*capacity),
        };
        let limits: Vec<_> = capacities.iter().enumerate().map(add).collect();
        let sets = [
            vec![],
            vec![0],
            vec![1],
            vec![0, 1],
            vec![1, 2, 3],
            vec![3],
            vec![4],
            vec![0, 4],
            vec![3, 4, 5],
        ];
        let ids: Vec<_> = sets
            .iter()
            .map(|set| lines.add_line(&set.iter().map(|it| limits[*it]).collect::<Vec<_>>()))
            .collect();
        let mut model = Model {
            capacities,
            rates,
            now: 0,
            entries: BTreeMap::new(),
        };
        lines.set_now(0);
        let mut arrivals = 0;
        for step in 0..steps as u32 {
            let mut granted = Vec::new();
            let is_full = model.entries.len() >= tickets;
            // Time passes, and the lines are looked at only when they have said.
            let until = model.now + i64::from(rng.u8(..12) == 0) * rng.i64(1..9);
            while let Some(at) = lines.next_look().filter(|at| *at <= until) {
                assert!(at > model.now, "seed {seed}");
                model.now = at;
                lines.set_now(at);
                lines.look(&mut granted);
                for id in granted.drain(..) {
                    start(&mut model, id, seed);
                }
            }
            model.now = until;
            lines.set_now(until);
            match rng.u8(..10) {
                0..6 if !is_full => {
                    let set = rng.usize(..sets.len().min(tickets));
                    let key = rng.bool().then(|| rng.usize(..3));
                    let other_key = rng.bool().then(|| rng.usize(..3));
                    let (priority, due) = (rng.i8(-1..2), rng.i64(..4));
                    arrivals += 1;
                    let name = |key: usize| Arc::from(key.to_string());
                    let names: [Option<Arc<str>>; 2] = [key.map(name), other_key.map(name)];
                    let keys = Keys {
                        limit: names[0].as_ref().map(|name| (name, 1)),
                        rate: names[1].as_ref().map(|name| (name, rate_of_key())),
                    };
                    let keys = (key.is_some() || other_key.is_some()).then_some(keys);
                    let entered = lines.enter(ids[set], keys, (priority, due), step, &mut granted);
                    let of_key =
                        |first: usize, key: Option<usize>| key.map(|key| first + 10 * set + key);
                    let of_keys = of_key(KEY, key)
                        .into_iter()
                        .chain(of_key(RATE_OF_KEY, other_key));
                    let (Entered::Placed(ticket) | Entered::Waits(ticket)) = entered;
                    let mut limits: Vec<_> = sets[set].iter().copied().chain(of_keys).collect();
                    limits.sort_by_key(|limit| {
                        let kind = match *limit {
                            RATE_OF_KEY.. => 0,
                            KEY.. => 1,
                            limit if model.is_rate(limit) => 2,
                            _ => 3,
                        };
                        (kind, Reverse(*limit))
                    });
                    let entry = Entry {
                        ticket,
                        limits,
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
                    let limit = rng.usize(..4);
                    model.capacities[limit] = rng.usize(..4);
                    let capacity = model.capacities[limit];
                    lines.set_capacity(limits[limit], capacity, &mut granted);
                }
                _ => {
                    let ids: Vec<_> = model.entries.keys().copied().collect();
                    if let Some(id) = rng.choice(ids) {
                        let gone = model.entries.remove(&id).unwrap();
                        let has_started = !gone.is_placed || rng.u8(..4) > 0;
                        for limit in gone.limits.iter().filter(|_| !has_started) {
                            if let Some(rate) = model.rates.get_mut(limit) {
                                rate.give_back();
                            }
                        }
                        lines.leave(gone.ticket, has_started, &mut granted);
                    }
                }
            }
            for id in granted {
                start(&mut model, id, seed);
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
                // What is kept for a ticket of several limits is one unit of each.
                let of_one = entry.limits.first().filter(|_| entry.limits.len() == 1);
                let overtaken = of_one.and_then(|limit| entry.overtaken.get(limit));
                assert!(overtaken.is_none_or(|times| *times <= OVERTAKEN));
            }
        }
        let left: Vec<_> = model.entries.values().map(|entry| entry.ticket).collect();
        for ticket in left {
            lines.leave(ticket, true, &mut Vec::new());
        }
        assert!(lines.lines_of_keys.is_empty() && lines.tickets.slots.is_empty());
        assert_eq!(lines.lines.slots.iter().flatten().count(), sets.len());
        // The rates of keys stay until they have recovered.
        while let Some(at) = lines.next_look() {
            lines.set_now(at);
            lines.look(&mut Vec::new());
        }
        assert!(lines.limits_of_keys.is_empty());
        assert_eq!(lines.limits.slots.iter().flatten().count(), limits.len());
    }

    /// The lines have granted this.
    fn start(model: &mut Model, id: u32, seed: u64) {
        let entry = model.entries[&id].clone();
        assert!(
            !entry.is_placed && model.may_start(&entry),
            "seed {seed}: {entry:?}"
        );
        // Nobody of its own limits comes before it.
        let better = model.entries.values().find(|other| {
            !other.is_placed
                && other.limits == entry.limits
                && other.order < entry.order
                && !entry.is_favored()
        });
        assert!(better.is_none(), "seed {seed}: {entry:?} before {better:?}");
        model.start(id);
    }

    #[test]
    fn limits_are_taken_together_and_nobody_waits_who_could_start() {
        for seed in 0..300 {
            let tickets = [4, 30][seed as usize % 2];
            check(seed, 200, tickets);
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
            lines.leave(gone, true, &mut granted);
            if lines.waits_for(low).is_none() {
                break;
            }
            overtaken += 1;
        }
        assert!(granted.contains(&0), "it has had its turn");
        assert!(overtaken <= 2 * OVERTAKEN + 2, "{overtaken}");
    }
}
