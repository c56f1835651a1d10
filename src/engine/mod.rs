//! The verbs. The engine orders the rooms below and owns no format.

pub mod api;
pub mod filter;
pub mod host;

mod build;
mod check;
mod company;
mod containers;
mod failures;
mod foreign;
mod halt;
mod happenings;
mod images;
mod info;
mod logins;
mod names;
mod network;
mod networks;
mod ports;
mod processes;
mod room;
mod storage;
mod volumes;

pub use containers::expire;
pub use images::settle;

use api::{Event, Failure, FailureKind, Inspect, ObjectKind, Reply, Request, Settings};

use crate::store::{Access, Store};

/// The engine, in this process.
///
/// Making one costs nothing: the store is opened, and the host is looked at,
/// when a request needs them.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
}

impl Engine {
    /// An engine for these surroundings.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Does what is asked, and tells `events` about it on the way.
    ///
    /// # Errors
    /// With what went wrong and what to do about it.
    pub fn call(&self, request: Request, events: &mut dyn FnMut(Event)) -> Result<Reply, Failure> {
        match request {
            Request::Run(run) => self.run(&run, events).map(Into::into),
            Request::Create(create) => self.create_container(&create, events).map(Into::into),
            Request::Start(start) => self.start_container(&start).map(Into::into),
            Request::Attach(attach) => self.attach_container(&attach).map(Into::into),
            Request::ListDue(_) => self.list_due().map(Into::into),
            Request::Act(act) => Ok(self.act(&act).into()),
            Request::Exec(exec) => self.exec(&exec, events).map(Into::into),
            Request::ShowLog(show) => self.show_log(&show).map(Into::into),
            Request::CopyFiles(copy) => self.copy_files(&copy).map(Into::into),
            Request::Export(export) => self.export_container(&export).map(Into::into),
            Request::ListChanges(list) => self.list_changes(&list).map(Into::into),
            Request::Commit(commit) => self.commit_container(&commit, events).map(Into::into),
            Request::CreateNetwork(create) => self.create_network(&create).map(Into::into),
            Request::ConnectNetwork(connect) => self.connect_network(&connect, events).map(Into::into),
            Request::DisconnectNetwork(leave) => self.disconnect_network(&leave, events).map(Into::into),
            Request::ListNetworks(list) => self.list_networks(&list).map(Into::into),
            Request::RemoveNetwork(remove) => self.remove_network(&remove).map(Into::into),
            Request::CreateVolume(create) => self.create_volume(&create).map(Into::into),
            Request::ListVolumes(list) => self.list_volumes(&list).map(Into::into),
            Request::RemoveVolume(remove) => self.remove_volume(&remove).map(Into::into),
            Request::ListHistory(list) => self.list_history(&list).map(Into::into),
            Request::Wait(wait) => self.wait_for_container(&wait).map(Into::into),
            Request::Build(build) => self.build_image(&build, events).map(Into::into),
            Request::PruneBuilds(prune) => self.prune_builds(*prune).map(Into::into),
            Request::Pull(pull) => self.pull(&pull, events).map(Into::into),
            Request::Push(push) => self.push(&push, events).map(Into::into),
            Request::MakeList(make) => self.make_list(&make, events).map(Into::into),
            Request::ChangeList(change) => self.change_list(&change, events).map(Into::into),
            Request::InspectList(inspect) => self.inspect_list(&inspect).map(Into::into),
            Request::Login(login) => self.log_in(&login, events).map(Into::into),
            Request::GetLogin(get) => self.login_of(&get).map(Into::into),
            Request::Logout(logout) => self.log_out(&logout).map(Into::into),
            Request::ListContainers(list) => self.list_containers(&list, events).map(Into::into),
            Request::RemoveContainer(remove) => self.remove_container(&remove).map(Into::into),
            Request::Check(check) => self.check(*check, events).map(Into::into),
            Request::ListNames(list) => self.list_names(*list).map(Into::into),
            Request::GetInfo(_) => Ok(self.info().into()),
            Request::RenameContainer(rename) => self.rename_container(&rename, events).map(Into::into),
            Request::ListProcesses(list) => self.list_processes(&list).map(Into::into),
            Request::ReadUsage(read) => self.read_usage(&read).map(Into::into),
            Request::GetDiskUsage(_) => self.disk_usage(events).map(Into::into),
            Request::Prune(prune) => self.prune(&prune, events).map(Into::into),
            Request::UpdateContainer(update) => self.update_container(&update, events).map(Into::into),
            Request::ReadHappenings(read) => self.read_happenings(&read).map(Into::into),
            Request::ListImages(_) => self.list_images().map(Into::into),
            Request::RemoveImage(remove) => self.remove_image(&remove, events).map(Into::into),
            Request::Tag(tag) => self.tag_image(&tag).map(Into::into),
            Request::Import(import) => {
                self.import_image(&import, events).map_err(|failure| import.source.blame(failure)).map(Into::into)
            }
            Request::Load(load) => {
                self.load_images(&load, events).map_err(|failure| load.source.blame(failure)).map(Into::into)
            }
            Request::Save(save) => self.save_images(&save).map(Into::into),
            Request::DescribeContainer(describe) => self.describe_container(&describe).map(Into::into),
            Request::Inspect(inspect) => self.inspect(&inspect).map(Into::into),
        }
    }

    /// A container before an image, as docker has it.
    fn inspect(&self, inspect: &Inspect) -> Result<serde_json::Value, Failure> {
        if inspect.kind == Some(ObjectKind::Image) {
            return self.inspect_image(&inspect.name);
        }
        match self.inspect_container(&self.store(Access::Read)?, inspect) {
            Err(failure) if failure.kind == FailureKind::NotFound && inspect.kind.is_none() => {
                self.inspect_image(&inspect.name).map_err(|failure| match failure.kind {
                    FailureKind::NotFound => {
                        Failure::say(FailureKind::NotFound, format!("no such container or image: {}", inspect.name))
                    }
                    _ => failure,
                })
            }
            other => other,
        }
    }

    fn store(&self, access: Access) -> Result<Store, Failure> {
        Ok(Store::open(&self.settings.root, access)?)
    }
}
