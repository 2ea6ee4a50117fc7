//! How far a query is, and what became of each bank, as the hub says.

use super::{Told, told};
use crate::wire::{BankOutcome, QueryState};

/// A query that waits for its release, and the code that says why.
pub(super) const HELD: Told = told(
    [
        "为保护您的资金安全，本次查询已暂缓，尚未询问任何银行。",
        "为了您的安全，本次查询已暂缓。",
        "如果有人要求您查卡，请停止操作并拨打反诈专线96110；确是您本人要查，请在冷静期结束后重新确认。",
    ],
    [
        "To protect you, this query was put on hold. No bank has been asked yet.",
        "To protect you, this query is on hold.",
        "If somebody asked you to do this, stop and call the anti-fraud line 96110. If not, confirm once more when \
                 the waiting time is over.",
    ],
);

/// What a person reads about the state of their query; `None` for what no query is in.
pub fn of_state(state: QueryState) -> Option<Told> {
    Some(match state {
        QueryState::Unspecified => return None,
        QueryState::Held => HELD,
        QueryState::Collecting => told(
            [
                "查询已受理，正在等待银行答复，最长需要24小时。",
                "查询已受理，正在等待银行答复。",
                "您可以离开本页面，报告生成后会有短信通知。",
            ],
            [
                "Your query was accepted and the banks are answering. This takes up to 24 hours.",
                "Your query was accepted and the banks are answering.",
                "You can leave this page. A text message tells you when the report is ready.",
            ],
        ),
        QueryState::FinalAllAnswered => told(
            [
                "报告已生成，所有被询问的银行都已答复。",
                "报告已生成，所有银行都已答复。",
                "请输入支付密码查看报告。报告保存7个自然日。",
            ],
            [
                "The report is ready, and every bank that was asked has answered.",
                "The report is ready and every bank has answered.",
                "Enter your payment password to open it. It is kept for 7 calendar days.",
            ],
        ),
        QueryState::FinalPartial => told(
            [
                "报告已生成，部分银行没有答复，报告中会逐一列明。",
                "报告已生成，部分银行没有答复。",
                "请输入支付密码查看报告；没有答复的银行，可以直接向该银行查询，或之后再查一次。",
            ],
            [
                "The report is ready, but some banks did not answer. They are named in it.",
                "The report is ready, but some banks did not answer.",
                "Enter your payment password to open it. Ask the missing banks themselves, or make another query later.",
            ],
        ),
        QueryState::FinalEmpty => told(
            [
                "查询已结束，没有银行在24小时内答复。",
                "查询已结束，没有银行答复。",
                "没有答复不代表您没有银行卡。请之后再查一次，或直接向银行查询。",
            ],
            [
                "The query is over, and no bank answered within 24 hours.",
                "The query is over and no bank answered.",
                "This does not mean that you hold no cards. Make another query later, or ask the banks themselves.",
            ],
        ),
        QueryState::Erased => told(
            ["报告已满7个自然日，内容已删除，无法恢复。", "报告已经到期删除。", "如需再次查看，请重新查询。"],
            [
                "The report's 7 calendar days are over. Its content was deleted and cannot be brought back.",
                "The report was deleted because its time was over.",
                "Make a new query if you want to look again.",
            ],
        ),
        QueryState::Rejected => told(
            [
                "本次查询没有被受理，未询问任何银行。",
                "本次查询没有被受理。",
                "请查看未受理的原因，按提示处理后重新查询。",
            ],
            [
                "This query was not accepted, and no bank was asked.",
                "This query was not accepted.",
                "Look at the reason that is given with it, and make a new query when it is settled.",
            ],
        ),
        QueryState::Cancelled => told(
            [
                "本次查询已取消：暂缓期内没有重新确认，未询问任何银行。",
                "本次查询已取消，没有询问任何银行。",
                "如仍需查询，请在确认没有人要求您这样做之后重新发起。",
            ],
            [
                "This query was cancelled, because it was on hold and was not confirmed in time. No bank was asked.",
                "This query was cancelled and no bank was asked.",
                "Make a new query if you still want one and nobody else wants you to.",
            ],
        ),
        QueryState::Withdrawn => told(
            [
                "您已撤回同意，查询已停止，报告不再可见。",
                "您已撤回同意，查询已停止。",
                "无需其他操作。如需查询，可以随时重新发起。",
            ],
            [
                "You withdrew your consent. The query has stopped and its report can no longer be opened.",
                "You withdrew your consent and the query has stopped.",
                "Nothing else is needed. You can make a new query at any time.",
            ],
        ),
    })
}

/// What a person reads about a bank in their report; `None` for what no bank ends with.
pub fn of_outcome(outcome: BankOutcome) -> Option<Told> {
    Some(match outcome {
        BankOutcome::Unspecified => return None,
        BankOutcome::Answered => told(
            ["该银行已答复，内容只有您的设备可以打开。", "该银行已答复。", "请打开报告查看该银行的答复。"],
            [
                "This bank has answered. Only your device can open what it says.",
                "This bank has answered.",
                "Open the report to see its answer.",
            ],
        ),
        BankOutcome::Refused => told(
            [
                "该银行未接受本次查询请求，报告中没有该银行的信息。",
                "该银行没有接受本次查询。",
                "请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank did not accept the request, so the report says nothing about it.",
                "This bank did not accept the request.",
                "Make another query later, or ask this bank itself.",
            ],
        ),
        BankOutcome::Suspended => told(
            [
                "该银行目前暂停参与本服务，报告中没有该银行的信息。",
                "该银行目前暂停参与本服务。",
                "请直接向该银行查询。",
            ],
            [
                "This bank does not take part in the service at present, so the report says nothing about it.",
                "This bank does not take part at present.",
                "Ask this bank itself.",
            ],
        ),
        BankOutcome::InvalidReply => told(
            [
                "该银行的答复未通过安全校验，没有收入报告。",
                "该银行的答复没有通过校验。",
                "请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank's answer did not pass the security check and is not in the report.",
                "This bank's answer did not pass the check.",
                "Make another query later, or ask this bank itself.",
            ],
        ),
        BankOutcome::Unavailable => told(
            [
                "该银行的系统暂时无法查询，未能在24小时内给出答复。",
                "该银行的系统暂时无法查询。",
                "请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank's system was not available, so it could not answer within 24 hours.",
                "This bank's system was not available.",
                "Make another query later, or ask this bank itself.",
            ],
        ),
        BankOutcome::NoReply => told(
            [
                "该银行未在24小时内答复。",
                "该银行没有按时答复。",
                "没有答复不代表您在该银行没有卡。请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank did not answer within 24 hours.",
                "This bank did not answer in time.",
                "This does not mean that you hold no card there. Make another query later, or ask this bank itself.",
            ],
        ),
    })
}
