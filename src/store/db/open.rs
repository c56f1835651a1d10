//! Opening the database, and making it the first time.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::super::atomic;
use super::super::error::StoreError;
use super::super::layout::Layout;
use super::super::lock::{Lock, Wait};
use super::super::rebuild;
use super::{Abort, Db, schema};

/// How long a writer waits for its turn.
const BUSY: Duration = Duration::from_secs(30);

/// Pages in the write-ahead log after which a writer moves them to the database
/// (and calls fsync). Small, because the first process after a quiet time reads
/// the whole log; large enough that a throwaway container seldom pays.
const CHECKPOINT_PAGES: u32 = 128;

/// Bytes kept back for removals on a full disk.
const RESERVE: u64 = 1 << 20;

/// File systems on which several processes cannot share memory over a file, or
/// on which that is not known: `f_type` of statfs(2).
const NETWORK_FILE_SYSTEMS: [u32; 14] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
    0x0bd0_0bd0, // Lustre
    0x4750_4653, // GPFS
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x00c3_6400, // Ceph
    0xaad7_aaea, // PanFS
    0x1983_0326, // BeeGFS
    0x2003_0528, // OrangeFS
    0x786f_4256, // VirtualBox shared folders
];

impl Db {
    /// Opens the database for writing, and makes it and its surroundings if there is none.
    pub(in crate::store) fn open_or_create(layout: &Layout) -> Result<Self, StoreError> {
        Self::open_to_write(layout).map_err(|error| match error {
            // SQLite only says that it cannot open the files it needs.
            StoreError::Database { .. } if !is_writable(layout) => StoreError::ReadOnly { path: layout.root().into() },
            other => other,
        })
    }

    fn open_to_write(layout: &Layout) -> Result<Self, StoreError> {
        let path = layout.database();
        if path.exists() {
            let db = Self::connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            if db.version()? != 0 {
                // What somebody has removed is empty now, and no reason to fail.
                for missing in layout.directories().iter().filter(|directory| !directory.exists()) {
                    create_directory(missing)?;
                }
                return Ok(db);
            }
            // Its maker was killed before the first commit.
        }
        Self::create(layout)
    }

    /// Opens the database for reading; none stands for an empty one.
    pub(in crate::store) fn open_existing(layout: &Layout) -> Result<Self, StoreError> {
        let path = layout.database();
        let nothing = || {
            if !is_writable(layout) || !rebuild::is_needed(layout) {
                return Self::empty(&path);
            }
            // It was lost; without it, containers would be taken for garbage.
            let mut db = Self::open_or_create(layout)?;
            db.writable = false;
            Ok(db)
        };
        if !path.exists() {
            return nothing();
        }
        let mut db = if is_writable(layout) {
            // Opened for writing, as reading a write-ahead log writes its index.
            Self::connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?
        } else {
            Self::connect_read_only(&path)?
        };
        db.writable = false;
        if db.version()? == 0 { nothing() } else { Ok(db) }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let explain = |error| StoreError::database(path, error);
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(explain)?;
        connection.busy_timeout(BUSY).map_err(explain)?;
        // The last process out would otherwise move the log and call fsync, which
        // is most of what a throwaway container would cost.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(explain)?;
        Ok(Self { connection, path: path.into(), writable: true, synchronous: Cell::new(None) })
    }

    /// On a read-only file system, a database without log cannot change under us.
    fn connect_read_only(path: &Path) -> Result<Self, StoreError> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let has_log = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
        if has_log {
            return Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        }
        let uri = format!("file:{}?immutable=1", percent_encoded(path));
        let mut db = Self::connect(Path::new(&uri), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
        db.path = path.into();
        Ok(db)
    }

    /// A database without rows, for a store that does not exist.
    pub(in crate::store) fn empty(path: &Path) -> Result<Self, StoreError> {
        let explain = |error| StoreError::database(path, error);
        let connection = Connection::open_in_memory().map_err(explain)?;
        connection.execute_batch(schema::CREATE).map_err(explain)?;
        Ok(Self { connection, path: path.into(), writable: false, synchronous: Cell::new(None) })
    }

    /// The schema version; 0 for a database without tables.
    fn version(&self) -> Result<i64, StoreError> {
        let found: i64 = self
            .connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|error| StoreError::database(&self.path, error))?;
        if !(0..=schema::VERSION).contains(&found) {
            return Err(StoreError::NewerSchema { path: self.root().into(), found, known: schema::VERSION });
        }
        Ok(found)
    }

    fn create(layout: &Layout) -> Result<Self, StoreError> {
        for directory in layout.directories() {
            create_directory(&directory)?;
        }
        let _lock = Lock::acquire(&layout.locks().join("schema"), "the new store", Wait::Until(BUSY))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let path = layout.database();
        let mut db = Self::connect(&path, flags)?;
        if db.version()? != 0 {
            return Ok(db);
        }
        let explain = |error| StoreError::database(&path, error);
        if !is_network_file_system(layout.root()) {
            // Kept in the file: later connections find it there. Where shared
            // memory is refused, SQLite answers with the mode it stays in.
            db.connection.pragma_update(None, "journal_mode", "wal").map_err(explain)?;
        }
        let transaction = db.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(explain)?;
        transaction.execute_batch(schema::CREATE).map_err(explain)?;
        transaction.pragma_update(None, "user_version", schema::VERSION).map_err(explain)?;
        // Before anybody else can see it, and take for garbage what it does not know.
        rebuild::fill(&transaction, layout).map_err(|abort| match abort {
            Abort::Sql(error) => explain(error),
            Abort::Store(error) => error,
        })?;
        transaction.commit().map_err(explain)?;
        keep_reserve(layout);
        atomic::sync_directory(layout.root())?;
        Ok(db)
    }

    /// Bounds the write-ahead log; called once before the first write.
    pub(super) fn bound_log(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(&format!("PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}"))
    }
}

fn is_writable(layout: &Layout) -> bool {
    rustix::fs::access(layout.root(), rustix::fs::Access::WRITE_OK).is_ok()
}

fn is_network_file_system(root: &Path) -> bool {
    let kind = rustix::fs::statfs(root).map(|stat| stat.f_type).unwrap_or_default();
    // The low 32 bits: some architectures sign-extend the field.
    NETWORK_FILE_SYSTEMS.contains(&(kind as u32))
}

/// Takes some room, to be given back when a removal finds none. A store without it works too; on a disk with little
/// left a smaller one does for a removal or two.
pub(in crate::store) fn keep_reserve(layout: &Layout) {
    if let Ok(file) = std::fs::File::create(layout.reserve()) {
        let takes = |bytes| rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_ok();
        let _ = [RESERVE, RESERVE / 4, RESERVE / 16].into_iter().any(takes);
    }
}

fn create_directory(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::io("create", path))
}

fn percent_encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut uri, byte| {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
        uri
    })
}
