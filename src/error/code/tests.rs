use super::*;

/// Every code and text of the table, with what it means. Changing a row has to be meant.
#[test]
#[rustfmt::skip]
fn what_every_code_means() {
    let rows = [
        ("READONLY You can't write against a read only replica.", NotNow, ReadOnly, MayPass),
        ("REDIRECT 127.0.0.1:6380", NotNow, ReadOnly, MayPass),
        ("LOADING Redis is loading the dataset in memory", NotNow, NotServing, MayPass),
        ("MASTERDOWN Link with MASTER is down", NotNow, NotServing, MayPass),
        ("NOREPLICAS Not enough good replicas to write.", NotNow, CheckNode, MayPass),
        ("UNBLOCKED force unblock from blocking operation", NotNow, CheckNode, MayPass),
        ("MISCONF cannot save", NotNow, NoSignal, MayPass),
        ("OOM command not allowed", NotNow, NoSignal, MayPass),
        ("BUSY Redis is busy running a script.", NotNow, NoSignal, MayPass),
        ("CLUSTERDOWN The cluster is down", NotNow, NoSignal, MayPass),
        ("TRYAGAIN Multiple keys request", NotNow, NoSignal, MayPass),
        ("NOAUTH Authentication required.", Never, NoSignal, Final),
        ("WRONGPASS invalid username-password pair", Never, NoSignal, Final),
        ("DENIED Redis is running in protected mode", Never, NoSignal, Final),
        ("NOPERM this user has no permissions", Never, NoSignal, CommandDenied),
        ("NOPROTO unsupported protocol version", Never, NoSignal, MayPass),
        ("NOSCRIPT No matching script.", Never, NoSignal, MayPass),
        ("MOVED 3999 127.0.0.1:6381", Never, NoSignal, MayPass),
        ("ASK 3999 127.0.0.1:6381", Never, NoSignal, MayPass),
        ("CROSSSLOT Keys in request", Never, NoSignal, MayPass),
        ("EXECABORT because of: READONLY You can't write", NotNow, ReadOnly, MayPass),
        ("EXECABORT because of: LOADING", NotNow, NotServing, MayPass),
        ("EXECABORT because of: NOREPLICAS Not enough", NotNow, CheckNode, MayPass),
        ("EXECABORT because of: OOM no", NotNow, NoSignal, MayPass),
        ("EXECABORT because of: NOPERM no", Never, NoSignal, MayPass),
        ("EXECABORT because of: WRONGTYPE no", Never, NoSignal, MayPass),
        ("EXECABORT because of previous errors.", Never, NoSignal, MayPass),
        // No server nests them, and a hostile one must not make us recurse.
        ("EXECABORT because of: EXECABORT because of: READONLY", Never, NoSignal, MayPass),
        ("ERR max number of clients reached", NotNow, NoSignal, MayPass),
        ("ERR Unknown command 'X'", Never, NoSignal, CommandDenied),
        ("ERR proxy: unknown command", Done, NoSignal, CommandDenied),
        ("ERR Unknown subcommand 'X'", Never, NoSignal, MayPass),
        ("ERR wrong number of arguments for 'auth' command", Never, NoSignal, Final),
        ("ERR wrong number of arguments for 'set' command", Never, NoSignal, MayPass),
        ("ERR Function not found", Never, NoSignal, MayPass),
        ("ERR Protocol error: invalid bulk length", Never, NoSignal, MayPass),
        ("ERR Can't execute 'get': only (P|S)SUBSCRIBE", Never, NoSignal, MayPass),
        ("ERR only (P)SUBSCRIBE / PING", Never, NoSignal, MayPass),
        ("ERR Command not allowed inside a transaction", Never, NoSignal, MayPass),
        ("ERR Can not run script on cluster", Never, NoSignal, MayPass),
        ("ERR Can not execute a script with write flag", Never, NoSignal, MayPass),
        ("ERR DEBUG command not allowed.", Never, NoSignal, MayPass),
        ("ERR MODULE command not allowed.", Never, NoSignal, MayPass),
        ("ERR replica can't interact with the keyspace", Never, NoSignal, MayPass),
        ("ERR invalid password", Never, NoSignal, Final),
        ("ERR Client sent AUTH, but no password is set", Done, NoSignal, Final),
        ("ERR AUTH <password> called without any password configured", Done, NoSignal, Final),
        ("ERR AUTH called without any password configured", Done, NoSignal, Final),
        ("ERR DB index is out of range", Done, NoSignal, Final),
        ("ERR invalid DB index", Done, NoSignal, Final),
        ("ERR SELECT is not allowed in cluster mode", Done, NoSignal, Final),
        ("ERR wrong number of arguments, on @user_script:1.", Done, NoSignal, MayPass),
        ("ERR syntax error", Done, NoSignal, MayPass),
        ("ERR", Done, NoSignal, MayPass),
        ("WRONGTYPE Operation against a key", Done, NoSignal, MayPass),
        ("MYERROR of a script", Done, NoSignal, MayPass),
    ];
    for (line, executed, signal, own) in rows {
        let (code, details) = line.split_once(' ').unwrap_or((line, ""));
        assert_eq!(execution(code, details), executed, "{line}");
        assert_eq!(class(code, details), signal, "{line}");
        assert_eq!(setup(code, details), own, "{line}");
    }
    for (code, ..) in CODES {
        assert!(rows.iter().any(|(line, ..)| line.starts_with(code)), "{code}");
    }
    for (words, ..) in TEXTS {
        let has = |line: &str| line.strip_prefix("ERR ").is_some_and(|text| begins(text, words));
        assert!(rows.iter().any(|(line, ..)| has(line)), "{words}");
    }
}
