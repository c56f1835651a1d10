//! `login` and `logout`: a login is kept only after the registry has taken it.

use super::Engine;
use super::api::{Event, Failure, FailureKind, GetLogin, LoggedIn, LoggedOut, Login, LoginFound, Logout};
use super::images::interruption::unless_interrupted;
use crate::registry::login::{InvalidRegistry, Welcome};
use crate::registry::secret::Secret;
use crate::registry::{Account, Client, Ledger};

impl Engine {
    /// Tries a login and keeps it.
    ///
    /// # Errors
    /// If the registry does not take it, or it cannot be kept.
    pub(super) fn log_in(&self, login: &Login, events: &mut dyn FnMut(Event)) -> Result<LoggedIn, Failure> {
        let account = Account::parse(&login.registry)?;
        if login.user.is_empty() || login.user.contains(':') || login.user.contains(char::is_control) {
            let message = format!("invalid user name {:?}: it is empty, or has a ':' in it", login.user);
            return Err(Failure::say(FailureKind::Invalid, message).hint("pybox login -u USER HOST".to_owned()));
        }
        let mut client = Client::new(self.registry_options())?;
        let ledger = self.ledger();
        let password = || Secret::new(login.password.0.clone());
        unless_interrupted(|stop| async move {
            let tried = stop.or(async { Ok(client.log_in(&account, &login.user, password()).await?) });
            if tried.await? == Welcome::Open {
                let registry = account.registry();
                events(Event::Warning(format!(
                    "{registry} asks nobody who comes: whether the password is right is not known"
                )));
            }
            let place = ledger.keep(&account, &login.user, password()).await?;
            Ok(LoggedIn { registry: account.registry().to_owned(), place })
        })
    }

    /// The user name that is used at a registry.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn login_of(&self, get: &GetLogin) -> Result<LoginFound, Failure> {
        let account = Account::parse(&get.registry)?;
        let ledger = self.ledger();
        let found = unless_interrupted(|_| async { Ok(ledger.user(&account).await?) })?;
        found.map(|user| LoginFound { user }).ok_or_else(|| {
            let name = account.registry();
            let failure = Failure::say(FailureKind::NotFound, format!("there is no login for {name}"));
            failure.hint(format!("pybox login {name}"))
        })
    }

    /// Forgets a login, or all.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub(super) fn log_out(&self, logout: &Logout) -> Result<LoggedOut, Failure> {
        let account = logout.registry.as_deref().map(Account::parse).transpose()?;
        let ledger = self.ledger();
        let mut places = unless_interrupted(|_| async {
            Ok(match &account {
                Some(account) => ledger.forget(account).await?,
                None => ledger.forget_all().await?,
            })
        })?;
        places.dedup();
        Ok(LoggedOut { registry: account.map(|account| account.registry().to_owned()), places })
    }

    fn ledger(&self) -> Ledger {
        let settings = &self.settings;
        Ledger {
            files: settings.auth_files.clone(),
            target: settings.auth_target.clone(),
            helper_dirs: settings.helper_dirs.clone(),
        }
    }
}

impl From<InvalidRegistry> for Failure {
    fn from(error: InvalidRegistry) -> Self {
        Self::new(FailureKind::Invalid, &error).hint("pybox login HOST[:PORT]".to_owned())
    }
}
