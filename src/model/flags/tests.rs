//! Tables of what each flag takes and what it refuses.
