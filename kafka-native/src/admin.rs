//! The calls themselves.
//!
//! Every call has the same shape: make the native arguments, enqueue the request, wait for its event, read the event.
//! Three rules of librdkafka make that sound, and every `SAFETY` comment below refers to one of them:
//!
//! - **copies**: a request copies its arguments and options before the enqueueing function returns;
//! - **event**: whatever is read out of an event lives as long as the event, and its typed result is null when the event is
//!   of another type;
//! - **ranges**: librdkafka replaces enumeration values that it does not know by `UNKNOWN` before it hands them out, so
//!   they are valid Rust enums. Error codes are exempt; rdkafka itself takes them the same way.

#![expect(unsafe_code, reason = "rdkafka 0.39 wraps none of these calls")]

use std::ffi::{CStr, CString, c_char};
use std::iter;
use std::mem;
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

use crate::acl::Acl;
use crate::convert::{
    native_operation, native_pattern, native_permission, native_resource, read_operation, read_pattern,
    read_permission, read_resource,
};
use crate::{AdminError, Setting};

/// librdkafka answers every request itself when its time is over; this is how much later it may be noticed.
const SLACK: Duration = Duration::from_secs(5);
/// Kafka's own default. Generated passwords have 256 bits, so guessing them is no cheaper for fewer rounds.
const SCRAM_ITERATIONS: i32 = 4096;
const MECHANISM: rd::rd_kafka_ScramMechanism_t =
    rd::rd_kafka_ScramMechanism_t::RD_KAFKA_SCRAM_MECHANISM_SHA_512;

pub(crate) fn describe_acls<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    within: Duration,
) -> Result<Vec<Acl>, AdminError> {
    let any = any_acl()?;
    let event = Call::new(client, within)?.of_broker(broker)?.answer(
        "describe access lists",
        |rk, options, queue| {
            // SAFETY: all four pointers are live; rule "copies".
            unsafe { rd::rd_kafka_DescribeAcls(rk, any.as_ptr(), options, queue) }
        },
    )?;
    // SAFETY: rule "event"; the two functions belong together.
    let found = unsafe {
        list(&event, rd::rd_kafka_event_DescribeAcls_result, rd::rd_kafka_DescribeAcls_result_acls)?
    };
    // SAFETY: every element is live; rule "event".
    Ok(found.iter().map(|acl| unsafe { read_acl(*acl) }).collect())
}

pub(crate) fn create_acls<C: ClientContext>(
    client: &Client<C>,
    acls: &[Acl],
    within: Duration,
) -> Result<(), AdminError> {
    let native = acls.iter().map(native_acl).collect::<Result<Vec<_>, _>>()?;
    let mut pointers = pointers(&native);
    let event = Call::new(client, within)?.answer("create access lists", |rk, options, queue| {
        // SAFETY: all pointers are live, and the array has this length; rule "copies".
        unsafe { rd::rd_kafka_CreateAcls(rk, pointers.as_mut_ptr(), pointers.len(), options, queue) }
    })?;
    // SAFETY: rule "event"; the two functions belong together.
    let results =
        unsafe { list(&event, rd::rd_kafka_event_CreateAcls_result, rd::rd_kafka_CreateAcls_result_acls)? };
    for (acl, result) in acls.iter().zip(results) {
        // SAFETY: the result is live; rule "event".
        unsafe { check(rd::rd_kafka_acl_result_error(*result), || acl.to_string())? };
    }
    Ok(())
}

pub(crate) fn delete_acls<C: ClientContext>(
    client: &Client<C>,
    acls: &[Acl],
    within: Duration,
) -> Result<(), AdminError> {
    // A filter without a wildcard part matches exactly one access list, and has the form of one.
    let native = acls.iter().map(native_acl).collect::<Result<Vec<_>, _>>()?;
    let mut pointers = pointers(&native);
    let event = Call::new(client, within)?.answer("delete access lists", |rk, options, queue| {
        // SAFETY: all pointers are live, and the array has this length; rule "copies".
        unsafe { rd::rd_kafka_DeleteAcls(rk, pointers.as_mut_ptr(), pointers.len(), options, queue) }
    })?;
    // SAFETY: rule "event"; the two functions belong together.
    let responses = unsafe {
        list(&event, rd::rd_kafka_event_DeleteAcls_result, rd::rd_kafka_DeleteAcls_result_responses)?
    };
    for (acl, response) in acls.iter().zip(responses) {
        // SAFETY: the response is live; rule "event".
        unsafe { check(rd::rd_kafka_DeleteAcls_result_response_error(*response), || acl.to_string())? };
    }
    Ok(())
}

pub(crate) fn describe_scram_users<C: ClientContext>(
    client: &Client<C>,
    broker: i32,
    within: Duration,
) -> Result<Vec<String>, AdminError> {
    let what = "describe users";
    let event = Call::new(client, within)?.of_broker(broker)?.event(what, |rk, options, queue| {
        // SAFETY: the pointers are live; no users are given, which asks for all.
        unsafe { rd::rd_kafka_DescribeUserScramCredentials(rk, ptr::null_mut(), 0, options, queue) }
    })?;
    // SAFETY: the event is live.
    let code = RDKafkaErrorCode::from(unsafe { rd::rd_kafka_event_error(event.as_ptr()) });
    if code != RDKafkaErrorCode::NoError {
        // When a broker refuses this question, librdkafka 2.12 lets the event's text point into the stack of its own thread
        // (rd_kafka_DescribeUserScramCredentialsResponse_parse), and would free it with the event. So the text is not read,
        // and the event is left for the end of the process.
        mem::forget(event);
        return Err(AdminError::Refused { code, text: format!("{what}: {code}") });
    }
    // SAFETY: rule "event"; the two functions belong together.
    let users = unsafe {
        list(
            &event,
            rd::rd_kafka_event_DescribeUserScramCredentials_result,
            rd::rd_kafka_DescribeUserScramCredentials_result_descriptions,
        )?
    };
    let mut names = Vec::new();
    for user in users {
        // SAFETY: the description is live, and the index is below its count; rules "event" and "ranges".
        unsafe {
            let name = text(rd::rd_kafka_UserScramCredentialsDescription_user(*user));
            check(rd::rd_kafka_UserScramCredentialsDescription_error(*user), || name.clone())?;
            let count = rd::rd_kafka_UserScramCredentialsDescription_scramcredentialinfo_count(*user);
            let usable = (0..count).any(|index| {
                let info = rd::rd_kafka_UserScramCredentialsDescription_scramcredentialinfo(*user, index);
                rd::rd_kafka_ScramCredentialInfo_mechanism(info) == MECHANISM
            });
            if usable {
                names.push(name);
            }
        }
    }
    Ok(names)
}

pub(crate) fn upsert_scram_users<'a, C: ClientContext>(
    client: &Client<C>,
    users: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    within: Duration,
) -> Result<(), AdminError> {
    let native = users.into_iter().map(native_upsertion).collect::<Result<Vec<_>, _>>()?;
    let mut pointers = pointers(&native);
    let event = Call::new(client, within)?.answer("create users", |rk, options, queue| {
        // SAFETY: all pointers are live, and the array has this length; rule "copies".
        unsafe {
            rd::rd_kafka_AlterUserScramCredentials(rk, pointers.as_mut_ptr(), pointers.len(), options, queue)
        }
    })?;
    // SAFETY: rule "event"; the two functions belong together.
    let responses = unsafe {
        list(
            &event,
            rd::rd_kafka_event_AlterUserScramCredentials_result,
            rd::rd_kafka_AlterUserScramCredentials_result_responses,
        )?
    };
    for response in responses {
        // SAFETY: the response is live; rule "event".
        unsafe {
            let error = rd::rd_kafka_AlterUserScramCredentials_result_response_error(*response);
            check(error, || {
                format!(
                    "user {}",
                    text(rd::rd_kafka_AlterUserScramCredentials_result_response_user(*response))
                )
            })?;
        }
    }
    Ok(())
}

pub(crate) fn alter_topic_settings<'a, C: ClientContext>(
    client: &Client<C>,
    topics: impl IntoIterator<Item = (&'a str, &'a [Setting])>,
    within: Duration,
) -> Result<(), AdminError> {
    let native = topics.into_iter().map(native_settings).collect::<Result<Vec<_>, _>>()?;
    let mut pointers = pointers(&native);
    let event = Call::new(client, within)?.answer("change settings", |rk, options, queue| {
        // SAFETY: all pointers are live, and the array has this length; rule "copies".
        unsafe {
            rd::rd_kafka_IncrementalAlterConfigs(rk, pointers.as_mut_ptr(), pointers.len(), options, queue)
        }
    })?;
    // SAFETY: rule "event"; the two functions belong together.
    let resources = unsafe {
        list(
            &event,
            rd::rd_kafka_event_IncrementalAlterConfigs_result,
            rd::rd_kafka_IncrementalAlterConfigs_result_resources,
        )?
    };
    for resource in resources {
        // SAFETY: the resource is live; rule "event".
        unsafe {
            check_code(
                rd::rd_kafka_ConfigResource_error(*resource),
                || text(rd::rd_kafka_ConfigResource_name(*resource)),
                || text(rd::rd_kafka_ConfigResource_error_string(*resource)),
            )?;
        }
    }
    Ok(())
}

pub(crate) fn complaints<C: ClientContext>(client: &Client<C>) -> Vec<String> {
    // SAFETY: the client is borrowed, so its handle is live; the reference to its queue is new and ours.
    let queue =
        unsafe { Owned::new(rd::rd_kafka_queue_get_main(client.native_ptr()), rd::rd_kafka_queue_destroy) };
    let events = queue.iter().flat_map(|queue| iter::from_fn(|| poll(queue, Duration::ZERO)));
    events.filter_map(|event| complaint(&event)).collect()
}

pub(crate) type Rk = *mut rd::rd_kafka_t;
pub(crate) type Options = *const rd::rd_kafka_AdminOptions_t;
pub(crate) type Queue = *mut rd::rd_kafka_queue_t;
pub(crate) type Event = Owned<rd::rd_kafka_event_t>;

/// A native object of this process, destroyed with this value.
pub(crate) struct Owned<T> {
    object: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `None` for a null pointer.
    ///
    /// # Safety
    /// `object` is null, or live, owned by nobody else, and destroyed by `destroy`.
    pub(crate) unsafe fn new(object: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(object).map(|object| Self { object, destroy })
    }

    pub(crate) fn as_ptr(&self) -> *mut T {
        self.object.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: by the contract of `new`; nothing uses the object after this.
        unsafe { (self.destroy)(self.object.as_ptr()) }
    }
}

/// One request: its client, its options, and the queue that its answer comes to.
pub(crate) struct Call<'a, C: ClientContext> {
    client: &'a Client<C>,
    options: Owned<rd::rd_kafka_AdminOptions_t>,
    queue: Owned<rd::rd_kafka_queue_t>,
    within: Duration,
}

impl<'a, C: ClientContext> Call<'a, C> {
    pub(crate) fn new(client: &'a Client<C>, within: Duration) -> Result<Self, AdminError> {
        let rk = client.native_ptr();
        // SAFETY: the client is borrowed, so its handle is live; both objects are new and ours.
        let (options, queue) = unsafe {
            let any = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ANY;
            (
                Owned::new(rd::rd_kafka_AdminOptions_new(rk, any), rd::rd_kafka_AdminOptions_destroy),
                Owned::new(rd::rd_kafka_queue_new(rk), rd::rd_kafka_queue_destroy),
            )
        };
        let (Some(options), Some(queue)) = (options, queue) else {
            return Err(invalid("options", "none were made"));
        };
        let mut why = ErrorText::new();
        // SAFETY: the options are live, and the buffer has this length.
        let code = unsafe {
            rd::rd_kafka_AdminOptions_set_request_timeout(
                options.as_ptr(),
                milliseconds(within),
                why.as_mut_ptr(),
                why.len(),
            )
        };
        check_code(code, || "request timeout".to_owned(), || why.text())?;
        Ok(Self { client, options, queue, within })
    }

    /// The same call, to this broker.
    fn of_broker(self, broker: i32) -> Result<Self, AdminError> {
        let mut why = ErrorText::new();
        // SAFETY: the options are live, and the buffer has this length.
        let code = unsafe {
            rd::rd_kafka_AdminOptions_set_broker(self.options.as_ptr(), broker, why.as_mut_ptr(), why.len())
        };
        check_code(code, || format!("broker {broker}"), || why.text())?;
        Ok(self)
    }

    /// The same call, whose answer also says what this client may do.
    pub(crate) fn with_operations(self) -> Result<Self, AdminError> {
        // SAFETY: the options are live; an error is ours to destroy.
        unsafe {
            let error = rd::rd_kafka_AdminOptions_set_include_authorized_operations(self.options.as_ptr(), 1);
            let error = Owned::new(error, rd::rd_kafka_error_destroy);
            check(error.as_ref().map_or(ptr::null(), |error| error.as_ptr().cast_const()), || {
                "authorized operations".to_owned()
            })?;
        }
        Ok(self)
    }

    /// Enqueues the request and waits for its event, whose error is the request's.
    pub(crate) fn answer(
        &self,
        what: &str,
        enqueue: impl FnOnce(Rk, Options, Queue),
    ) -> Result<Event, AdminError> {
        let event = self.event(what, enqueue)?;
        // SAFETY: the event is live.
        let code = unsafe { rd::rd_kafka_event_error(event.as_ptr()) };
        let why = || {
            // SAFETY: the event is live, and so is its text; rule "event".
            unsafe { text(rd::rd_kafka_event_error_string(event.as_ptr())) }
        };
        check_code(code, || what.to_owned(), why)?;
        Ok(event)
    }

    /// Enqueues the request and waits for its event.
    fn event(&self, what: &str, enqueue: impl FnOnce(Rk, Options, Queue)) -> Result<Event, AdminError> {
        enqueue(self.client.native_ptr(), self.options.as_ptr(), self.queue.as_ptr());
        poll(&self.queue, self.within + SLACK).ok_or_else(|| AdminError::Refused {
            code: RDKafkaErrorCode::OperationTimedOut,
            text: format!("{what}: no answer in {:?}", self.within),
        })
    }
}

/// The next event of a queue.
fn poll(queue: &Owned<rd::rd_kafka_queue_t>, within: Duration) -> Option<Event> {
    // SAFETY: the queue is live and ours; the event, if one comes, is ours to destroy.
    unsafe {
        let event = rd::rd_kafka_queue_poll(queue.as_ptr(), milliseconds(within));
        Owned::new(event, rd::rd_kafka_event_destroy)
    }
}

/// The text of a log event at the level of an error or above.
fn complaint(event: &Event) -> Option<String> {
    const ERROR: i32 = 3;
    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the event is live, and the three places belong to us. They are written only if it is a log event, and what
    // they then point to lives as long as the event.
    unsafe {
        let no_log =
            rd::rd_kafka_event_log(event.as_ptr(), &raw mut facility, &raw mut line, &raw mut level) != 0;
        (!no_log && level <= ERROR).then(|| text(line))
    }
}

/// Room for librdkafka to say why it refuses an argument.
struct ErrorText([c_char; 256]);

impl ErrorText {
    const fn new() -> Self {
        Self([0; 256])
    }

    fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    const fn len(&self) -> usize {
        self.0.len()
    }

    fn text(&self) -> String {
        // SAFETY: the buffer began as zeros, and librdkafka ends what it writes with a zero within the given length.
        unsafe { text(self.0.as_ptr()) }
    }
}

fn native_acl(acl: &Acl) -> Result<Owned<rd::rd_kafka_AclBinding_t>, AdminError> {
    let inexpressible = || AdminError::Inexpressible(acl.clone());
    let (name, principal, host) = (c_string(&acl.name)?, c_string(&acl.principal)?, c_string(&acl.host)?);
    let resource = native_resource(acl.resource).ok_or_else(inexpressible)?;
    let pattern = native_pattern(acl.pattern).ok_or_else(inexpressible)?;
    let operation = native_operation(acl.operation).ok_or_else(inexpressible)?;
    let permission = native_permission(acl.permission).ok_or_else(inexpressible)?;
    let mut why = ErrorText::new();
    // SAFETY: the strings end with a zero, live until the call returns, and are copied by it; the buffer has this
    // length. The object is new and ours.
    let native = unsafe {
        let native = rd::rd_kafka_AclBinding_new(
            resource,
            name.as_ptr(),
            pattern,
            principal.as_ptr(),
            host.as_ptr(),
            operation,
            permission,
            why.as_mut_ptr(),
            why.len(),
        );
        Owned::new(native, rd::rd_kafka_AclBinding_destroy)
    };
    native.ok_or_else(|| invalid(&acl.to_string(), &why.text()))
}

/// The filter that every access list matches.
fn any_acl() -> Result<Owned<rd::rd_kafka_AclBinding_t>, AdminError> {
    let mut why = ErrorText::new();
    // SAFETY: null stands for any name, principal and host; the buffer has this length. The object is new and ours.
    let native = unsafe {
        let native = rd::rd_kafka_AclBindingFilter_new(
            rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_ANY,
            ptr::null(),
            rd::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_ANY,
            ptr::null(),
            ptr::null(),
            rd::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ANY,
            rd::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ANY,
            why.as_mut_ptr(),
            why.len(),
        );
        Owned::new(native, rd::rd_kafka_AclBinding_destroy)
    };
    native.ok_or_else(|| invalid("filter", &why.text()))
}

/// # Safety
/// `acl` is live.
unsafe fn read_acl(acl: *const rd::rd_kafka_AclBinding_t) -> Acl {
    // SAFETY: `acl` is live, and so are its texts; rule "ranges".
    unsafe {
        Acl {
            resource: read_resource(rd::rd_kafka_AclBinding_restype(acl)),
            name: text(rd::rd_kafka_AclBinding_name(acl)),
            pattern: read_pattern(rd::rd_kafka_AclBinding_resource_pattern_type(acl)),
            principal: text(rd::rd_kafka_AclBinding_principal(acl)),
            host: text(rd::rd_kafka_AclBinding_host(acl)),
            operation: read_operation(rd::rd_kafka_AclBinding_operation(acl)),
            permission: read_permission(rd::rd_kafka_AclBinding_permission_type(acl)),
        }
    }
}

fn native_upsertion(
    (user, password): (&str, &[u8]),
) -> Result<Owned<rd::rd_kafka_UserScramCredentialAlteration_t>, AdminError> {
    let name = c_string(user)?;
    // SAFETY: the name ends with a zero, the password has this length, and both are copied. No salt is given, so
    // librdkafka makes a random one. The object is new and ours.
    let native = unsafe {
        let native = rd::rd_kafka_UserScramCredentialUpsertion_new(
            name.as_ptr(),
            MECHANISM,
            SCRAM_ITERATIONS,
            password.as_ptr(),
            password.len(),
            ptr::null(),
            0,
        );
        Owned::new(native, rd::rd_kafka_UserScramCredentialAlteration_destroy)
    };
    native.ok_or_else(|| invalid(user, "not a user"))
}

fn native_settings(
    (topic, settings): (&str, &[Setting]),
) -> Result<Owned<rd::rd_kafka_ConfigResource_t>, AdminError> {
    use rd::rd_kafka_AlterConfigOpType_t as Op;
    let name = c_string(topic)?;
    // SAFETY: the name ends with a zero and is copied. The object is new and ours.
    let native = unsafe {
        let kind = rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
        Owned::new(rd::rd_kafka_ConfigResource_new(kind, name.as_ptr()), rd::rd_kafka_ConfigResource_destroy)
    };
    let native = native.ok_or_else(|| invalid(topic, "not a topic"))?;
    for (key, value) in settings {
        let key_text = c_string(key)?;
        let value_text = value.as_deref().map(c_string).transpose()?;
        let (op, value_ptr) = match &value_text {
            Some(value) => (Op::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET, value.as_ptr()),
            None => (Op::RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, ptr::null()),
        };
        // SAFETY: the resource is live; the texts end with a zero and are copied, and null is allowed for a deletion. An
        // error is ours to destroy.
        unsafe {
            let error = rd::rd_kafka_ConfigResource_add_incremental_config(
                native.as_ptr(),
                key_text.as_ptr(),
                op,
                value_ptr,
            );
            let error = Owned::new(error, rd::rd_kafka_error_destroy);
            check(error.as_ref().map_or(ptr::null(), |error| error.as_ptr().cast_const()), || {
                format!("{topic} {key}")
            })?;
        }
    }
    Ok(native)
}

/// The elements of the result in an event, which they cannot outlive.
///
/// # Safety
/// `result` and `elements` belong to the same type of result.
pub(crate) unsafe fn list<R, T>(
    event: &Event,
    result: unsafe extern "C" fn(*mut rd::rd_kafka_event_t) -> *const R,
    elements: unsafe extern "C" fn(*const R, *mut usize) -> *mut *const T,
) -> Result<&[*const T], AdminError> {
    // SAFETY: the event is live.
    let result = unsafe { result(event.as_ptr()) };
    if result.is_null() {
        return Err(invalid("answer", "of another type than the question"));
    }
    let mut count = 0;
    // SAFETY: the result is live, and the count belongs to us.
    let first = unsafe { elements(result, &raw mut count) };
    if first.is_null() || count == 0 {
        return Ok(&[]);
    }
    // SAFETY: librdkafka gives the first of `count` pointers; rule "event".
    Ok(unsafe { slice::from_raw_parts(first, count) })
}

/// # Safety
/// `error` is null or live.
pub(crate) unsafe fn check(
    error: *const rd::rd_kafka_error_t,
    what: impl FnOnce() -> String,
) -> Result<(), AdminError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: `error` is live, and so is its text.
    unsafe { check_code(rd::rd_kafka_error_code(error), what, || text(rd::rd_kafka_error_string(error))) }
}

fn check_code(
    code: RDKafkaRespErr,
    what: impl FnOnce() -> String,
    why: impl FnOnce() -> String,
) -> Result<(), AdminError> {
    let code = RDKafkaErrorCode::from(code);
    if code == RDKafkaErrorCode::NoError {
        return Ok(());
    }
    Err(AdminError::Refused { code, text: format!("{}: {} ({code:?})", what(), why()) })
}

pub(crate) fn invalid(what: &str, why: &str) -> AdminError {
    AdminError::Refused { code: RDKafkaErrorCode::InvalidArgument, text: format!("{what}: {why}") }
}

/// # Safety
/// `text` is null, or ends with a zero and lives until this returns.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, and by the contract of this function.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

pub(crate) fn c_string(text: &str) -> Result<CString, AdminError> {
    CString::new(text).map_err(|_| AdminError::ZeroByte(text.to_owned()))
}

fn pointers<T>(owned: &[Owned<T>]) -> Vec<*mut T> {
    owned.iter().map(Owned::as_ptr).collect()
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
