//! One more process in a container that runs: the first one's, with what `exec` wishes otherwise.
//!
//! What the container was made with holds for it too: limits, rights, filter, groups. A
//! wish gives less or the same, but for `--privileged`, which the user has to type.

use oci_spec::runtime::{BoxBuilder, Process, User, UserBuilder};

use super::capabilities;
use super::error::{SpecError, wrong};
use super::process::{Variables, plain_directory};
use super::user::ResolvedUser;
use crate::model::container::ContainerRequest;
use crate::model::host::IdMap;

/// The container, as it was made.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// Its first process.
    pub process: &'a Process,
    /// What was asked for.
    pub request: &'a ContainerRequest,
    /// The map of its user namespace, if it has one of its own.
    pub map: Option<&'a IdMap>,
}

/// What is to be run in it.
#[derive(Clone, Debug, Default)]
pub struct Wishes<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// `-e` and `--env-file`, in order; later ones win.
    pub env: &'a [(String, String)],
    /// `-w`.
    pub workdir: Option<&'a str>,
    /// `-u`, resolved.
    pub user: Option<NewUser<'a>>,
    /// `--privileged`: on a kernel of this version.
    pub privileged: Option<(u32, u32)>,
    /// `-t`: with the size of the user's own terminal, where it is known.
    pub terminal: Option<Option<(u16, u16)>>,
}

/// Another user than the container's.
#[derive(Clone, Copy, Debug)]
pub struct NewUser<'a> {
    /// Who.
    pub user: &'a ResolvedUser,
    /// What becomes of `HOME`.
    pub home: Home,
}

/// Where a process is at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Where the user is.
    OfUser,
    /// Where the image or the container's request says, whoever it is.
    Chosen,
}

/// The process to run, and what the user should know about it.
///
/// # Errors
/// If there is no command, or user or directory cannot be.
pub fn compose(container: &Container<'_>, wishes: &Wishes<'_>) -> Result<(Process, Option<String>), SpecError> {
    if wishes.command.first().is_none_or(String::is_empty) {
        return Err(SpecError::NothingToExecute);
    }
    let mut process = container.process.clone();
    process.set_args(Some(wishes.command.to_vec()));
    process.set_env(Some(environment(container.process, wishes)?));
    if let Some(path) = wishes.workdir {
        process.set_cwd(plain_directory(path.to_owned())?);
    }
    process.set_terminal(Some(wishes.terminal.is_some()));
    process.set_console_size(None);
    if let Some(Some((rows, columns))) = wishes.terminal {
        let size = BoxBuilder::default().height(u64::from(rows)).width(u64::from(columns)).build();
        process.set_console_size(Some(size.map_err(wrong)?));
    }
    let mut warning = None;
    if let Some(new) = wishes.user {
        let (user, left_out) = user(container, new.user)?;
        process.set_user(user);
        warning = left_out;
    }
    let sets = container.process.capabilities().as_ref();
    let bounding = sets.and_then(|sets| sets.bounding().as_ref());
    let uid = process.user().uid();
    process.set_capabilities(Some(capabilities::joining(container.request, bounding, wishes.privileged, uid)?));
    if wishes.privileged.is_some() {
        process.set_apparmor_profile(None);
    }
    Ok((process, warning))
}

fn user(container: &Container<'_>, user: &ResolvedUser) -> Result<(User, Option<String>), SpecError> {
    let (groups, warning) = user.groups_within(container.map)?;
    let umask = container.process.user().umask().unwrap_or(0o022);
    let mut document = UserBuilder::default().uid(user.uid).gid(user.gid).umask(umask).build().map_err(wrong)?;
    document.set_additional_gids(Some(groups).filter(|groups| !groups.is_empty()));
    Ok((document, warning))
}

fn environment(first: &Process, wishes: &Wishes<'_>) -> Result<Vec<String>, SpecError> {
    let mut variables = Variables::from_words(first.env().as_deref().unwrap_or_default());
    if let Some(NewUser { user, home: Home::OfUser }) = wishes.user {
        variables.set("HOME", &user.home);
    }
    if wishes.terminal.is_some() {
        variables.set_default("TERM", "xterm");
    }
    variables.set_asked(wishes.env)?;
    Ok(variables.into_words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fixtures::{composed, host};

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    /// What is executed in the container of `request`.
    fn of(request: &ContainerRequest, wishes: &Wishes<'_>) -> Result<Process, SpecError> {
        let spec = composed(request, r#"{"Cmd":["sh"],"Env":["A=image"]}"#)?.spec;
        let process = spec.process().as_ref().expect("a process");
        let map = host().id_map;
        compose(&Container { process, request, map: Some(&map) }, wishes).map(|(process, _)| process)
    }

    #[test]
    fn without_wishes_it_is_the_first_process_with_other_words() {
        let request = ContainerRequest { workdir: Some("/srv".into()), ..ContainerRequest::default() };
        let spec = composed(&request, r#"{"Cmd":["sh"],"Env":["A=image"]}"#).expect("a container").spec;
        let first = spec.process().clone().expect("a process");
        let mut process = of(&request, &Wishes { command: &words(&["id", "-u"]), ..Wishes::default() }).expect("ours");
        assert_eq!(process.args(), &Some(words(&["id", "-u"])));
        process.set_args(first.args().clone());
        assert_eq!(process, first);
    }

    #[test]
    fn wishes_win() {
        let command = words(&["env"]);
        let env = [("A".to_owned(), "mine".to_owned()), ("B".to_owned(), "new".to_owned())];
        let wishes = Wishes {
            command: &command,
            env: &env,
            workdir: Some("/tmp"),
            terminal: Some(Some((24, 80))),
            ..Wishes::default()
        };
        let process = of(&ContainerRequest::default(), &wishes).expect("a process");
        let has = |word: &str| process.env().iter().flatten().any(|known| known == word);
        assert!(has("A=mine") && has("B=new") && has("TERM=xterm") && has("HOME=/root"), "{:?}", process.env());
        assert_eq!(process.cwd().to_str(), Some("/tmp"));
        let size = process.console_size().expect("a size");
        assert_eq!((process.terminal(), size.height(), size.width()), (Some(true), 24, 80));
    }

    #[test]
    fn another_user_has_another_home_and_no_capabilities() {
        let web =
            ResolvedUser { uid: 33, gid: 33, groups: vec![33, 50], home: "/var/www".into(), ..Default::default() };
        let command = words(&["id"]);
        let exec = |request: &ContainerRequest, home| {
            let user = Some(NewUser { user: &web, home });
            of(request, &Wishes { command: &command, user, ..Wishes::default() }).expect("a process")
        };
        let process = exec(&ContainerRequest::default(), Home::OfUser);
        assert!(process.env().iter().flatten().any(|word| word == "HOME=/var/www"));
        assert_eq!((process.user().uid(), process.user().gid()), (33, 33));
        assert_eq!(process.user().additional_gids(), &Some(vec![33, 50]));
        let sets = process.capabilities().clone().expect("sets");
        for set in [sets.effective(), sets.permitted(), sets.inheritable(), sets.ambient()] {
            assert_eq!(set.as_ref().map(|set| set.len()), Some(0));
        }
        assert_eq!(sets.bounding().as_ref().map(|set| set.len()), Some(11));
        let chosen = exec(&ContainerRequest::default(), Home::Chosen);
        assert!(chosen.env().iter().flatten().any(|word| word == "HOME=/root"));
        let added = ContainerRequest { cap_add: words(&["CAP_NET_RAW"]), ..ContainerRequest::default() };
        let sets = exec(&added, Home::OfUser).capabilities().clone().expect("sets");
        assert_eq!(sets.effective().as_ref().map(|set| set.len()), Some(1));
    }

    #[test]
    fn root_gets_back_what_the_containers_user_has_not() {
        let request = ContainerRequest { user: Some("web".into()), ..ContainerRequest::default() };
        let (root, command) = (ResolvedUser { home: "/root".into(), ..Default::default() }, words(&["id"]));
        let user = Some(NewUser { user: &root, home: Home::OfUser });
        let process = of(&request, &Wishes { command: &command, user, ..Wishes::default() }).expect("a process");
        let sets = process.capabilities().clone().expect("sets");
        assert_eq!(sets.effective(), sets.bounding());
        assert_eq!(sets.bounding().as_ref().map(|set| set.len()), Some(11));
    }

    #[test]
    fn privileged_has_all_that_exist() {
        let request = ContainerRequest { cap_drop: words(&["ALL"]), ..ContainerRequest::default() };
        let command = words(&["id"]);
        let wishes = Wishes { command: &command, privileged: Some((6, 1)), ..Wishes::default() };
        let sets = of(&request, &wishes).expect("a process").capabilities().clone().expect("sets");
        assert_eq!(sets.effective().as_ref().map(|set| set.len()), Some(41));
        let sets = of(&request, &Wishes { command: &command, ..Wishes::default() });
        let sets = sets.expect("a process").capabilities().clone().expect("sets");
        assert_eq!(sets.effective().as_ref().map(|set| set.len()), Some(0));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let command = words(&["id"]);
        let far = ResolvedUser { uid: 70_000, ..ResolvedUser::default() };
        let request = ContainerRequest::default();
        let user = Some(NewUser { user: &far, home: Home::OfUser });
        let refused = of(&request, &Wishes { command: &command, user, ..Wishes::default() });
        assert!(matches!(refused, Err(SpecError::Unmapped { id: 70_000, .. })), "{refused:?}");
        for command in [words(&[]), words(&[""])] {
            let refused = of(&request, &Wishes { command: &command, ..Wishes::default() });
            assert_eq!(refused, Err(SpecError::NothingToExecute));
        }
        for workdir in ["relative", "/a\nb"] {
            let refused = of(&request, &Wishes { command: &command, workdir: Some(workdir), ..Wishes::default() });
            assert!(matches!(refused, Err(SpecError::Path { .. })), "{workdir:?}");
        }
        let env = [("A=B".to_owned(), String::new())];
        assert!(of(&request, &Wishes { command: &command, env: &env, ..Wishes::default() }).is_err());
    }
}
