//! `.volume`, `.network`, `.image` and `.build`: services that make a thing, and are done.

use super::complaint::{Complaint, Weight};
use super::making::Making;

impl Making<'_> {
    /// The name of what the file describes, as others know it.
    fn resource(&self) -> Option<String> {
        self.known.get(&self.document.name).and_then(|known| known.resource.clone())
    }

    pub(super) fn create_volume(&mut self) {
        let mut words = self.program();
        // One that is there already stays as it is, without being told to.
        words.extend(["volume", "create"].map(str::to_owned));
        self.flags(&mut words);
        self.own_arguments(&mut words);
        words.extend(self.resource());
        self.one_shot(&words, true);
    }

    pub(super) fn create_network(&mut self) -> Result<(), Complaint> {
        let document = self.document;
        let subnets = document.lines("Network", "Subnet").len();
        if let Some(entry) = document.lines("Network", "Gateway").get(subnets) {
            let sentence = format!("Gateway={} belongs to no Subnet=", entry.value());
            return Err(document.complain(entry, Weight::Unit, sentence));
        }
        let mut words = self.program();
        words.extend(["network", "create", "--ignore"].map(str::to_owned));
        self.flags(&mut words);
        self.own_arguments(&mut words);
        words.extend(self.resource());
        self.one_shot(&words, true);
        if self.says("NetworkDeleteOnStop") {
            let mut words = self.program();
            words.extend(["network", "rm"].map(str::to_owned));
            words.extend(self.resource());
            self.service.add_command("ExecStopPost", &words);
        }
        Ok(())
    }

    pub(super) fn pull(&mut self) -> Result<(), Complaint> {
        let document = self.document;
        let image = document.text("Image", "Image").map(str::to_owned);
        let image = image.ok_or_else(|| document.refuse("Image= is missing: it names the image to pull"))?;
        self.credentials();
        let mut words = self.program();
        words.push("pull".to_owned());
        self.platform(&mut words);
        self.flags(&mut words);
        self.own_arguments(&mut words);
        words.push(image);
        self.one_shot(&words, true);
        Ok(())
    }

    pub(super) fn build(&mut self) -> Result<(), Complaint> {
        let document = self.document;
        if document.lines("Build", "ImageTag").is_empty() {
            return Err(document.refuse("ImageTag= is missing: it names the image that is built"));
        }
        let context = self.context()?;
        self.credentials();
        let mut words = self.program();
        words.push("build".to_owned());
        if let Some(pull) = document.text("Build", "Pull")
            && (matches!(pull, "always" | "newer") || Self::is_yes(pull))
        {
            words.push("--pull".to_owned());
        }
        self.platform(&mut words);
        self.flags(&mut words);
        if let Some(file) = document.text("Build", "File") {
            words.extend(["--file".to_owned(), self.below(&context, file)]);
        }
        if let Some(entry) = document.last("Build", "Network") {
            match entry.value() {
                value @ ("none" | "host" | "pasta") => words.extend(["--network", value].map(str::to_owned)),
                value => self.skip(entry, format!("Network={value}: a build has none, host or pasta")),
            }
        }
        self.own_arguments(&mut words);
        words.push(context);
        // A build may find newer files each time it is asked for, so it does not count as done.
        self.one_shot(&words, false);
        Ok(())
    }

    /// The directory that is built, absolute.
    fn context(&mut self) -> Result<String, Complaint> {
        let document = self.document;
        let beside = document.directory().display().to_string().replace('%', "%%");
        let file = document.text("Build", "File").filter(|file| file.starts_with('/'));
        let above = |file: &str| std::path::Path::new(file).parent().map(|parent| parent.display().to_string());
        let Some(entry) = document.last("Build", "SetWorkingDirectory") else {
            if let Some(directory) = document.text("Service", "WorkingDirectory") {
                return Ok(directory.to_owned());
            }
            return file
                .and_then(above)
                .ok_or_else(|| document.refuse("SetWorkingDirectory= is missing: unit is the directory of this file"));
        };
        let context = match entry.value() {
            "unit" => beside,
            "file" => file.and_then(above).unwrap_or_else(|| {
                let file = self.absolute(document.text("Build", "File").unwrap_or("."));
                above(&file).unwrap_or(beside)
            }),
            address if address.contains("://") || address.starts_with("github.com/") => {
                let sentence =
                    format!("SetWorkingDirectory={address}: a directory is built, no address; fetch it first");
                return Err(document.complain(entry, Weight::Unit, sentence));
            }
            directory => self.absolute(directory),
        };
        self.service.add_default("Service", "WorkingDirectory", context.clone());
        Ok(context)
    }

    fn below(&self, context: &str, file: &str) -> String {
        if file.starts_with('/') || file.starts_with('%') { file.to_owned() } else { format!("{context}/{file}") }
    }

    fn platform(&self, words: &mut Vec<String>) {
        let section = self.document.kind.section();
        let text = |key: &str| self.document.text(section, key);
        let (os, arch, variant) = (text("OS"), text("Arch"), text("Variant"));
        let Some(arch) = arch else { return };
        let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        words.extend(["--platform".to_owned(), format!("{}/{arch}{variant}", os.unwrap_or("linux"))]);
    }

    fn credentials(&mut self) {
        if let Some(file) = self.document.text(self.document.kind.section(), "AuthFile") {
            let variable = format!("REGISTRY_AUTH_FILE={}", self.absolute(file));
            self.service.add("Service", "Environment", super::quoting::join(&[variable]));
        }
    }
}
