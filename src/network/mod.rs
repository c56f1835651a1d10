//! Networks of containers, as far as other programs make them: which program, with which arguments. Pure but for
//! [`pasta::find`], which looks for it. Starting and watching it is the monitor's.

pub mod pasta;
