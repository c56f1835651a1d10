//! A connection, and what is said on it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use tokio::runtime::{Builder, Runtime};
use zbus::message::{Flags, Message, Type};
use zbus::{Connection, MessageStream, connection};

use super::error::Error;
use super::scope::{Scope, Weights};

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// How long a unit of the same name, which is about to go, may still be there.
const LINGERING: Duration = Duration::from_secs(2);
/// Between two tries then.
const PAUSE: Duration = Duration::from_millis(10);

/// A connection to the bus of a manager.
#[derive(Debug)]
pub struct Bus {
    runtime: Runtime,
    connection: Connection,
    messages: MessageStream,
}

/// A scope that has been asked for.
#[derive(Debug)]
pub struct Job {
    bus: Bus,
    scope: Scope,
    /// The number of the call.
    serial: NonZeroU32,
}

impl Bus {
    /// Connects to the first of `addresses` where somebody is, within `limit`.
    ///
    /// # Errors
    /// With what the last one said.
    pub fn connect(addresses: &[String], limit: Duration) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(Error::Runtime)?;
        let nowhere = || Error::Connect {
            address: "nowhere".to_owned(),
            source: Box::new(zbus::Error::Address("there is no bus".to_owned())),
        };
        let mut failure = nowhere();
        for address in addresses {
            let connected = runtime.block_on(async {
                let builder = connection::Builder::address(address.as_str())?;
                let connection = tokio::time::timeout(limit, builder.build()).await;
                Ok(connection.map_err(|_| late("connect to the bus", limit)).map(|built| built.map_err(Box::new)))
            });
            let refused = |source| Error::Connect { address: address.clone(), source };
            match connected.map_err(Box::new) {
                Ok(Ok(Ok(connection))) => {
                    let messages = MessageStream::from(&connection);
                    return Ok(Self { runtime, connection, messages });
                }
                Ok(Ok(Err(source))) | Err(source) => failure = refused(source),
                Ok(Err(error)) => failure = error,
            }
        }
        Err(failure)
    }

    /// Asks for `scope` and does not wait for it.
    ///
    /// # Errors
    /// If it cannot be said.
    pub fn start_scope(self, scope: Scope) -> Result<Job, Error> {
        let what = start_of(&scope.unit);
        let rule = format!(
            "type='signal',sender='{DESTINATION}',interface='{MANAGER}',member='JobRemoved',arg2='{}'",
            scope.unit
        );
        let sent = self.runtime.block_on(async {
            let bus = "org.freedesktop.DBus";
            let listen = Message::method_call("/org/freedesktop/DBus", "AddMatch")?.destination(bus)?.interface(bus)?;
            self.connection.send(&listen.with_flags(Flags::NoReplyExpected)?.build(&rule)?).await?;
            // Without a listener a manager tells nobody of its jobs.
            let subscribe = Message::method_call(PATH, "Subscribe")?.destination(DESTINATION)?.interface(MANAGER)?;
            self.connection.send(&subscribe.with_flags(Flags::NoReplyExpected)?.build(&())?).await?;
            send_start(&self.connection, &scope).await
        });
        match sent {
            Ok(serial) => Ok(Job { bus: self, scope, serial }),
            Err(error) => Err(broken(what, error)),
        }
    }

    /// Whether the cgroup of a service that runs is its own to divide.
    ///
    /// # Errors
    /// With what the manager says.
    pub fn is_delegated(&self, service: &str, limit: Duration) -> Result<bool, Error> {
        let what = format!("ask whether {service} is delegated");
        let (path, properties) = (unit_path(service), Some("org.freedesktop.DBus.Properties"));
        let body = ("org.freedesktop.systemd1.Service", "Delegate");
        let call = self.connection.call_method(Some(DESTINATION), path.as_str(), properties, "Get", &body);
        let answer = self.runtime.block_on(async { tokio::time::timeout(limit, call).await });
        let answer = answer.map_err(|_| late(&what, limit))?.map_err(|error| broken(what.clone(), error))?;
        let value = answer.body().deserialize::<zbus::zvariant::OwnedValue>();
        Ok(matches!(value.map_err(|error| broken(what, error))?.downcast_ref::<bool>(), Ok(true)))
    }

    /// Gives a unit that runs other weights.
    ///
    /// # Errors
    /// With what the manager says.
    pub fn set_weights(&self, unit: &str, weights: Weights, limit: Duration) -> Result<(), Error> {
        let what = format!("change the weights of {unit}");
        // Not for the next boot: the unit is gone by then.
        let body = (unit, true, weights.properties());
        let call = self.connection.call_method(Some(DESTINATION), PATH, Some(MANAGER), "SetUnitProperties", &body);
        let answer = self.runtime.block_on(async { tokio::time::timeout(limit, call).await });
        match answer {
            Err(_) => Err(late(&what, limit)),
            Ok(Err(error)) => Err(broken(what, error)),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

impl Job {
    /// Waits until the process is in the scope, for `limit` at most.
    ///
    /// # Errors
    /// With what the manager says, or that it says nothing.
    pub fn wait(self, limit: Duration) -> Result<(), Error> {
        let Self { bus: Bus { runtime, connection, mut messages }, scope, mut serial } = self;
        let asked = Instant::now();
        let waited = runtime.block_on(async {
            tokio::time::timeout(limit, async {
                loop {
                    match outcome(&mut messages, &scope.unit, serial).await {
                        // The last one of this name is about to be forgotten.
                        Err(error) if error.is_unit_exists() && asked.elapsed() < LINGERING => {
                            tokio::time::sleep(PAUSE).await;
                            let again = send_start(&connection, &scope).await;
                            serial = again.map_err(|error| broken(start_of(&scope.unit), error))?;
                        }
                        other => return other,
                    }
                }
            })
            .await
        });
        waited.unwrap_or_else(|_| Err(late(&start_of(&scope.unit), limit)))
    }
}

fn start_of(unit: &str) -> String {
    format!("start {unit}")
}

fn late(what: &str, limit: Duration) -> Error {
    Error::Late { what: what.to_owned(), limit }
}

/// The object that stands for a unit: its name, with all but letters and digits in hexadecimal (sd_bus_path_encode(3)).
fn unit_path(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        // A label does not begin with a digit.
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

async fn send_start(connection: &Connection, scope: &Scope) -> zbus::Result<NonZeroU32> {
    let nothing_else: Vec<(&str, Vec<(&str, zbus::zvariant::Value<'_>)>)> = Vec::new();
    let start = Message::method_call(PATH, "StartTransientUnit")?.destination(DESTINATION)?.interface(MANAGER)?;
    let start = start.build(&(scope.unit.as_str(), "fail", scope.properties(), nothing_else))?;
    connection.send(&start).await?;
    Ok(start.primary_header().serial_num())
}

/// What becomes of the call `serial`, which makes `unit`: it is refused, or there is a job and that ends.
async fn outcome(
    messages: &mut (impl Stream<Item = zbus::Result<Message>> + Unpin),
    unit: &str,
    serial: NonZeroU32,
) -> Result<(), Error> {
    let what = || start_of(unit);
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| broken(what(), error))?;
        let header = message.header();
        match message.message_type() {
            Type::Error if header.reply_serial() == Some(serial) => {
                return Err(broken(what(), zbus::Error::from(message)));
            }
            Type::Signal if header.member().is_some_and(|member| member == "JobRemoved") => {
                let body = message.body();
                let told = body.deserialize::<(u32, zbus::zvariant::ObjectPath<'_>, &str, &str)>();
                match told.map_err(|error| broken(what(), error))? {
                    (_, _, of, "done") if of == unit => return Ok(()),
                    (_, _, of, result) if of == unit => {
                        return Err(Error::Job { unit: unit.to_owned(), result: result.to_owned() });
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Err(broken(what(), zbus::Error::InputOutput(std::sync::Arc::new(std::io::ErrorKind::UnexpectedEof.into()))))
}

/// What was said no to has a name; all else is the connection's fault.
fn broken(what: String, error: zbus::Error) -> Error {
    match error {
        zbus::Error::MethodError(name, message, _) => {
            let name = name.to_string();
            Error::Refused { what, message: message.unwrap_or_else(|| name.clone()), name }
        }
        error => Error::Broken { what, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_paths() {
        let cases = [("a.service", "a_2eservice"), ("4-x@1.service", "_34_2dx_401_2eservice"), ("a9_b", "a9_5fb")];
        for (unit, label) in cases {
            assert_eq!(unit_path(unit), format!("/org/freedesktop/systemd1/unit/{label}"));
        }
    }
}
