//! What a person reads when something is refused, by the wallet, the producer, the hub, or their own device.

use super::progress::HELD;
use super::{Told, told};
use crate::codes::Code;

/// The wallet sent something that it should not: nothing that the person did, and nothing that they can mend.
const WALLET_MISTAKE: Told = told(
    [
        "应用提交的信息有误，本次操作没有完成。",
        "本次操作没有完成，请稍后再试。",
        "请更新应用后重试；仍有问题时，请联系应用客服。",
    ],
    [
        "The app sent something wrong, so this could not be done.",
        "This could not be done, please try again later.",
        "Update the app and try again. If it goes on, ask the app's support.",
    ],
);

/// A signature, a seal or a key does not fit. Which one says nothing to a person.
const CHECK_FAILED: Told = told(
    [
        "安全校验没有通过，相关内容不予处理和展示。",
        "安全校验没有通过。",
        "请稍后重新查询；仍有问题时，请联系应用客服。",
    ],
    [
        "A security check failed, so this is neither processed nor shown.",
        "A security check failed.",
        "Make another query later. If it goes on, ask the app's support.",
    ],
);

/// The wallet itself may not use the service now.
const WALLET_NOT_ADMITTED: Told = told(
    ["您使用的应用目前不能提供查卡服务。", "这个应用目前不能提供查卡服务。", "请联系应用客服了解恢复时间。"],
    [
        "The app that you use cannot offer this service at present.",
        "This app cannot offer the service at present.",
        "Ask the app's support when it will be back.",
    ],
);

/// Something is away for a while.
const AWAY: Told = told(
    ["查询服务暂时没有响应。", "查询服务暂时没有响应。", "请稍后再试。"],
    [
        "The service does not answer at present.",
        "The service does not answer at present.",
        "Try again later.",
    ],
);

/// What a person reads about `code`; `None` for a code that no person meets: it stays between the hub and a bank or an SMS
/// gateway, and what follows from it has words of its own.
pub fn of_code(code: Code) -> Option<Told> {
    Some(match code {
        Code::MALFORMED_JSON
        | Code::UNKNOWN_FIELD
        | Code::FIELD_INVALID
        | Code::BODY_TOO_LARGE
        | Code::UNSUPPORTED_MEDIA_TYPE
        | Code::UNAUTHENTICATED
        | Code::ROUTE_UNKNOWN
        | Code::METHOD_NOT_ALLOWED
        | Code::QUERY_ID_INVALID
        | Code::ID_REUSED
        | Code::BANK_REPEATED
        | Code::CONSENT_TOO_LONG
        | Code::KEY_INVALID
        | Code::SEAL_CONTENT_TOO_LARGE
        | Code::MESSAGE_MALFORMED
        | Code::MESSAGE_TOO_LARGE => WALLET_MISTAKE,

        Code::WRONG_TOPIC
        | Code::WRONG_RECORD_KEY
        | Code::KEY_UNKNOWN
        | Code::KEY_NOT_YET_VALID
        | Code::KEY_REVOKED
        | Code::SIGNATURE_INVALID
        | Code::DIGEST_MISMATCH
        | Code::STATEMENT_MISMATCH
        | Code::SEAL_SUITE_UNKNOWN
        | Code::SEAL_BROKEN
        | Code::REGISTRY_ROOTS_TOO_FEW
        | Code::REGISTRY_ROTATION_UNSIGNED
        | Code::REGISTRY_VERSION_OLD
        | Code::REGISTRY_VERSION_REUSED
        | Code::REGISTRY_KEY_DROPPED
        | Code::REQUEST_ID_WRONG
        | Code::BANK_NOT_ASKED
        | Code::REPORT_KEY_MISMATCH
        | Code::OUTCOME_INVALID
        | Code::BATCH_TOO_LARGE
        | Code::BATCH_PROOF_INVALID
        | Code::BATCH_TIME_IMPOSSIBLE => CHECK_FAILED,

        Code::UPSTREAM_UNKNOWN | Code::UPSTREAM_NOT_ACTIVE => WALLET_NOT_ADMITTED,

        Code::PARTY_UNKNOWN | Code::HUB_UNAVAILABLE => AWAY,

        Code::REQUEST_TIME_IMPOSSIBLE
        | Code::REPLY_BY_PASSED
        | Code::QUERY_UNKNOWN
        | Code::SOURCE_UNAVAILABLE
        | Code::GATEWAY_REFUSED
        | Code::GATEWAY_OUTCOME_UNKNOWN
        | Code::GATEWAY_UNAVAILABLE
        | Code::DELIVERY_FAILED
        | Code::PHONE_LIMIT_REACHED
        | Code::OUT_ID_UNKNOWN
        | Code::CONTACT_UNREADABLE => return None,

        Code::DUPLICATE_QUERY => told(
            ["这次查询已经受理，无需重复提交。", "这次查询已经受理。", "请在查询记录中查看进度。"],
            [
                "This query was accepted before. Nothing needs to be sent again.",
                "This query was accepted before.",
                "Follow it in the list of your queries.",
            ],
        ),
        Code::OUTCOME_UNKNOWN => told(
            [
                "暂时无法确认查询是否已经提交。",
                "暂时无法确认查询是否已经提交。",
                "请稍等片刻再试一次，不会产生重复查询。",
            ],
            [
                "It is not known yet whether your query was taken.",
                "It is not known yet whether your query was taken.",
                "Wait a moment and try again. This does not start a second query.",
            ],
        ),
        Code::KAFKA_UNAVAILABLE => told(
            ["系统繁忙，本次查询没有提交。", "系统繁忙，查询没有提交。", "请稍后再试。"],
            [
                "The service is busy, and your query was not taken.",
                "The service is busy and did not take your query.",
                "Try again later.",
            ],
        ),
        Code::RATE_LIMITED => told(
            ["当前使用人数较多，请求暂时没有处理。", "当前使用人数较多，请稍后再试。", "请稍等片刻再试。"],
            [
                "Many people use the service right now, and your request was not handled.",
                "Many people use the service right now.",
                "Wait a moment and try again.",
            ],
        ),
        Code::INTERNAL => told(
            [
                "系统出现异常，您的查询没有受到影响。",
                "系统出现异常，请稍后再试。",
                "请稍后再试；仍有问题时，请联系应用客服。",
            ],
            [
                "Something failed in the system. Your query was not changed.",
                "Something failed in the system.",
                "Try again later. If it goes on, ask the app's support.",
            ],
        ),

        Code::REGION_NOT_OPEN => told(
            ["您所在的地区尚未开通查卡服务。", "您所在的地区尚未开通查卡服务。", "请留意应用内的开通公告。"],
            [
                "The service is not open in your region yet.",
                "The service is not open in your region yet.",
                "The app announces when your region opens.",
            ],
        ),
        Code::COHORT_NOT_OPEN => told(
            [
                "您所在的地区正在分批开通查卡服务，暂未轮到您。",
                "查卡服务正在分批开通，暂未轮到您。",
                "请留意应用内的开通公告。",
            ],
            [
                "The service opens step by step in your region, and it is not your turn yet.",
                "The service opens step by step, and it is not your turn yet.",
                "The app announces when everybody's turn has come.",
            ],
        ),
        Code::BANKS_NONE => told(
            ["您还没有选择银行。", "您还没有选择银行。", "请至少选择一家银行后再提交。"],
            ["You have not chosen a bank.", "You have not chosen a bank.", "Choose at least one bank."],
        ),
        Code::BANKS_TOO_MANY => told(
            ["一次最多可以选择500家银行。", "选择的银行太多了。", "请减少选择的银行，其余银行可以另行查询。"],
            [
                "One query can name at most 500 banks.",
                "You have chosen too many banks.",
                "Choose fewer banks, and ask the others in another query.",
            ],
        ),
        Code::BANK_UNKNOWN => told(
            ["您选择的银行中有尚未接入本服务的。", "有的银行尚未接入本服务。", "请刷新银行列表后重新选择。"],
            [
                "A bank that you chose does not take part in this service.",
                "A bank that you chose does not take part.",
                "Load the list of banks again and choose from it.",
            ],
        ),
        Code::BANK_NOT_ACTIVE => told(
            ["您选择的银行中有暂停参与本服务的。", "有的银行暂停参与本服务。", "请刷新银行列表后重新选择。"],
            [
                "A bank that you chose does not take part at present.",
                "A bank that you chose does not take part at present.",
                "Load the list of banks again and choose from it.",
            ],
        ),
        Code::BANK_NOT_IN_REGION => told(
            [
                "您选择的银行中有未在您所在地区参与本服务的。",
                "有的银行在您的地区没有参与本服务。",
                "请刷新银行列表后重新选择。",
            ],
            [
                "A bank that you chose does not take part in your region.",
                "A bank that you chose does not take part in your region.",
                "Load the list of banks again and choose from it.",
            ],
        ),
        Code::ASSURANCE_TOO_LOW => told(
            ["您还没有完成实名认证，不能查卡。", "您还没有完成实名认证。", "请先在应用中完成实名认证。"],
            [
                "Your real name has not been verified, so you cannot make a query.",
                "Your real name has not been verified.",
                "Have your real name verified in the app first.",
            ],
        ),
        Code::FACTORS_TOO_FEW => told(
            [
                "身份验证还不完整，需要两种不同的验证方式。",
                "还需要再完成一种身份验证。",
                "请再完成一种验证，例如支付密码加人脸识别。",
            ],
            [
                "Two different ways of proving who you are are needed.",
                "One more proof of who you are is needed.",
                "Add another one, for example your face besides the payment password.",
            ],
        ),
        Code::FACTOR_TOO_OLD => told(
            ["身份验证已经超时。", "身份验证已经超时。", "请重新验证身份后再提交。"],
            [
                "Too much time has passed since you proved who you are.",
                "Too much time has passed since you proved who you are.",
                "Prove who you are once more and send the query again.",
            ],
        ),
        Code::FACTOR_IN_FUTURE | Code::CONSENT_NOT_YET_VALID => told(
            [
                "手机或应用的时间不准确，本次操作没有完成。",
                "手机的时间不准确。",
                "请把手机时间设为自动，然后重新操作。",
            ],
            [
                "The time of the phone or the app is wrong, so this could not be done.",
                "The time of your phone is wrong.",
                "Let the phone set its time by itself, and try again.",
            ],
        ),
        Code::PURPOSE_NOT_ALLOWED => told(
            [
                "查卡只能用于您本人防范电信网络诈骗，不得用于其他用途。",
                "查卡只能用于本人防范诈骗。",
                "如果有人要求您查卡，请立即停止并拨打反诈专线96110。",
            ],
            [
                "The only purpose of this service is your own check against fraud.",
                "This service is only for your own check against fraud.",
                "If somebody asked you to do this, stop and call the anti-fraud line 96110.",
            ],
        ),

        Code::CONSENT_TEXT_UNKNOWN => told(
            ["知情同意书已经更新。", "知情同意书已经更新。", "请重新阅读并同意后再提交。"],
            [
                "The consent text has been renewed.",
                "The consent text has been renewed.",
                "Read the new text, agree to it, and send the query again.",
            ],
        ),
        Code::CONSENT_EXPIRED => told(
            ["您的同意已经超过有效期。", "您的同意已经过期。", "请重新阅读同意书，同意后再提交。"],
            [
                "Your consent has expired.",
                "Your consent has expired.",
                "Read the consent text again, agree to it, and send the query again.",
            ],
        ),
        Code::CONSENT_BANKS_MISMATCH => told(
            [
                "您同意查询的银行与提交的银行不一致。",
                "同意书与选择的银行不一致。",
                "请重新选择银行，并重新阅读同意书。",
            ],
            [
                "The banks that you agreed to are not those that were sent.",
                "The banks that you agreed to are not those that were sent.",
                "Choose the banks again, and read the consent text once more.",
            ],
        ),
        Code::CONSENT_ALREADY_USED => told(
            [
                "这份同意已经用于另一次查询，每次查询都需要您重新同意。",
                "每次查询都需要您重新同意。",
                "请重新阅读同意书，同意后再提交。",
            ],
            [
                "This consent was used for another query. Every query needs its own.",
                "Every query needs a consent of its own.",
                "Read the consent text again, agree to it, and send the query again.",
            ],
        ),
        Code::WARNING_NOT_ACKNOWLEDGED => told(
            ["您还没有确认防诈骗提示。", "请先阅读并确认防诈骗提示。", "请阅读防诈骗提示，确认后再提交。"],
            [
                "You have not confirmed the scam warning.",
                "Please read and confirm the scam warning first.",
                "Read the scam warning, confirm it, and send the query again.",
            ],
        ),

        Code::QUERY_NOT_FOUND => told(
            ["没有找到这次查询。", "没有找到这次查询。", "请在查询记录中核对，或重新查询。"],
            [
                "There is no such query.",
                "There is no such query.",
                "Look into the list of your queries, or make a new one.",
            ],
        ),
        Code::REPORT_NOT_READY => told(
            ["报告尚未生成，最长需要24小时。", "报告尚未生成。", "请耐心等待，报告生成后会有短信通知。"],
            [
                "The report is not ready yet. It takes up to 24 hours.",
                "The report is not ready yet.",
                "Please wait. A text message tells you when it is ready.",
            ],
        ),
        Code::REPORT_ERASED => told(
            ["报告已满7个自然日，内容已删除。", "报告已经到期删除。", "如需再次查看，请重新查询。"],
            [
                "The report's 7 calendar days are over, and it was deleted.",
                "The report was deleted because its time was over.",
                "Make a new query if you want to look again.",
            ],
        ),
        Code::QUERY_WITHDRAWN => told(
            ["您已撤回同意，报告不再可见。", "您已撤回同意，报告不再可见。", "如需查询，可以随时重新发起。"],
            [
                "You withdrew your consent, so the report can no longer be opened.",
                "You withdrew your consent.",
                "You can make a new query at any time.",
            ],
        ),
        Code::QUERY_REJECTED => told(
            [
                "这次查询没有被受理，没有报告。",
                "这次查询没有被受理。",
                "请查看未受理的原因，处理后重新查询。",
            ],
            [
                "This query was not accepted, so there is no report.",
                "This query was not accepted.",
                "Look at the reason that is given with it, and make a new query when it is settled.",
            ],
        ),
        Code::QUERY_OPEN => told(
            [
                "您还有一次查询没有结束。",
                "您还有一次查询没有结束。",
                "请在查询记录中查看进度，或撤回那次查询后再试。",
            ],
            [
                "Another query of yours is still under way.",
                "Another query of yours is still under way.",
                "Follow it in the list of your queries, or withdraw it and try again.",
            ],
        ),
        Code::ASKED_RECENTLY => told(
            ["距离您上次生成报告的时间太短。", "您最近已经查询过。", "请先查看上次的报告，过几天再查询。"],
            [
                "Your last report is too recent for another query.",
                "You made a query a short while ago.",
                "Look at your last report, and ask again in some days.",
            ],
        ),
        Code::HELD_FOR_RISK => HELD,
        Code::HOLD_NOT_OVER => told(
            [
                "冷静期还没有结束，本次查询仍处于暂缓状态。",
                "冷静期还没有结束。",
                "请到时再确认；如果有人催促您，请停止操作并拨打反诈专线96110。",
            ],
            [
                "The waiting time is not over yet, so the query stays on hold.",
                "The waiting time is not over yet.",
                "Confirm it later. If somebody presses you, stop and call the anti-fraud line 96110.",
            ],
        ),
        Code::HOLD_EXPIRED => told(
            [
                "本次查询没有在规定时间内重新确认，已经取消。",
                "本次查询已经取消。",
                "如仍需查询，请在确认没有人要求您这样做之后重新发起。",
            ],
            [
                "This query was not confirmed in time and was cancelled.",
                "This query was cancelled.",
                "Make a new query if you still want one and nobody else wants you to.",
            ],
        ),
        Code::NOT_HELD => told(
            ["这次查询没有处于暂缓状态，无需确认。", "这次查询无需再次确认。", "请在查询记录中查看进度。"],
            [
                "This query is not on hold, so nothing has to be confirmed.",
                "Nothing has to be confirmed for this query.",
                "Follow it in the list of your queries.",
            ],
        ),
        Code::GRANT_EXPIRED | Code::GRANT_USED => told(
            ["本次密码验证已经失效。", "密码验证已经失效。", "请重新输入支付密码查看报告。"],
            [
                "The payment password was entered too long ago, or for another view.",
                "The payment password must be entered again.",
                "Enter your payment password again to open the report.",
            ],
        ),
        Code::GRANT_INVALID => told(
            [
                "本次验证与这份报告不符，无法打开。",
                "验证与这份报告不符。",
                "请返回查询记录，重新打开报告并输入支付密码。",
            ],
            [
                "This verification does not belong to this report, so it cannot be opened.",
                "This verification does not belong to this report.",
                "Open the report again from the list of your queries, and enter your payment password.",
            ],
        ),
        Code::DEVICE_MISMATCH => told(
            [
                "这份报告只能在发起查询的设备上打开。",
                "请在发起查询的设备上打开报告。",
                "请使用发起查询的手机；手机已更换的，请在新手机上重新查询。",
            ],
            [
                "This report can be opened only on the device that made the query.",
                "Open the report on the device that made the query.",
                "Use that phone. If you have a new one, make a new query with it.",
            ],
        ),
        Code::VIEW_LOCKED => told(
            [
                "一小时内多次验证未通过，为保护您的信息，暂时不能查看报告。",
                "为保护您的信息，暂时不能查看报告。",
                "请一小时后再试；如果不是您本人操作，请立即修改支付密码。",
            ],
            [
                "Too many attempts failed within the hour. To protect you, reports cannot be opened for now.",
                "To protect you, reports cannot be opened for now.",
                "Try again in an hour. If these attempts were not yours, change your payment password now.",
            ],
        ),
    })
}
