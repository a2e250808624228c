//! [`Args`]: the arguments of a job in memory.

/// The arguments of a job in memory. A durable job has its arguments as JSON, in its
/// definition, and reads them for each attempt.
pub(crate) enum Args<A> {
    None,
    Own(A),
    /// The second are those of the replacement that follows the running attempt.
    WithNext(Box<(Option<A>, Option<A>)>),
}

impl<A> Args<A> {
    pub(crate) fn of(args: Option<A>) -> Self {
        args.map_or(Args::None, Args::Own)
    }

    pub(crate) fn take(&mut self) -> Option<A> {
        match self {
            Args::WithNext(both) => both.0.take(),
            _ => match std::mem::replace(self, Args::None) {
                Args::Own(args) => Some(args),
                _ => None,
            },
        }
    }

    /// Puts arguments back that were taken for an attempt. Returns them if there are
    /// others by now.
    pub(crate) fn put_back(&mut self, args: A) -> Option<A> {
        match self {
            Args::None => *self = Args::Own(args),
            Args::WithNext(both) if both.0.is_none() => both.0 = Some(args),
            _ => return Some(args),
        }
        None
    }

    /// Returns those from before.
    pub(crate) fn replace(&mut self, args: Option<A>) -> Self {
        std::mem::replace(self, Args::of(args))
    }

    /// Returns the arguments of a replacement from before.
    pub(crate) fn set_next(&mut self, next: Option<A>) -> Option<A> {
        let own = self.take();
        let before = match std::mem::replace(self, Args::None) {
            Args::WithNext(both) => both.1,
            _ => None,
        };
        *self = Args::WithNext(Box::new((own, next)));
        before
    }

    /// The replacement does not follow any more. Returns its arguments.
    pub(crate) fn drop_next(&mut self) -> Option<A> {
        match std::mem::replace(self, Args::None) {
            Args::WithNext(both) => {
                let (own, next) = *both;
                *self = Args::of(own);
                next
            }
            own => {
                *self = own;
                None
            }
        }
    }

    /// The replacement takes over. Returns the arguments from before.
    pub(crate) fn advance(&mut self) -> Option<A> {
        match std::mem::replace(self, Args::None) {
            Args::WithNext(both) => {
                let (own, next) = *both;
                *self = Args::of(next);
                own
            }
            Args::Own(own) => Some(own),
            Args::None => None,
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Args::None)
    }
}
