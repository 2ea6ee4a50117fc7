//! What a bank says, sealed: whether it has cards, which, and what can be done about them.
//!
//! The words about what is withheld say nothing of a reason: there are several, and none may be told.

use super::{Told, told};
use crate::wire::{
    AccountClass, AnswerKind, CardKind, CardStatus, MissingSource, NextAction, RegulatorDormancy,
};

/// What a person reads about a bank's answer; `None` for what no bank says.
pub fn of_answer(answer: AnswerKind) -> Option<Told> {
    Some(match answer {
        AnswerKind::Unspecified => return None,
        AnswerKind::Cards => told(
            [
                "您在该银行名下有银行卡，详情见下方列表。",
                "您在该银行有银行卡。",
                "请逐张核对；不是您办理的卡，请尽快联系该银行。",
            ],
            [
                "You hold cards at this bank; they are listed below.",
                "You hold cards at this bank.",
                "Check them one by one. If one is not yours, contact the bank soon.",
            ],
        ),
        AnswerKind::NoCards => told(
            [
                "该银行确认，您名下没有可查询的银行卡。",
                "该银行确认您没有银行卡。",
                "无需操作。如有疑问，以该银行的记录为准。",
            ],
            [
                "This bank states that you hold no card there that this service covers.",
                "This bank states that you hold no card there.",
                "Nothing is needed. If in doubt, the bank's own record prevails.",
            ],
        ),
        AnswerKind::IneligibleNoPhone => told(
            [
                "您在该银行没有预留有效手机号码，暂时无法查询。这不代表您没有银行卡。",
                "您在该银行没有预留手机号码，无法查询。",
                "请携带身份证件到该银行网点补留手机号码，之后再查。",
            ],
            [
                "This bank has no usable phone number of yours on file, so it cannot answer. You may still hold cards there.",
                "This bank has no phone number of yours and cannot answer.",
                "Have your phone number added at a branch, with your identity document, and make another query.",
            ],
        ),
        AnswerKind::IneligibleIdExpired => told(
            [
                "您在该银行登记的身份证件已过有效期，暂时无法查询。这不代表您没有银行卡。",
                "您在该银行登记的证件已过期，无法查询。",
                "请携带有效证件到该银行网点或通过其手机银行更新证件信息，之后再查。",
            ],
            [
                "The identity document on file at this bank has expired, so it cannot answer. You may still hold cards there.",
                "Your document on file at this bank has expired.",
                "Update your identity document at a branch or in the bank's app, and make another query.",
            ],
        ),
        AnswerKind::IneligibleNoCardlessPayment => told(
            [
                "您在该银行没有开通无卡自助消费，暂时无法查询。这不代表您没有银行卡。",
                "您在该银行没有开通无卡自助消费，无法查询。",
                "请向该银行申请开通后再查，或直接到该银行查询。",
            ],
            [
                "Cardless payment is not enabled for you at this bank, so it cannot answer. You may still hold cards there.",
                "Cardless payment is not enabled for you at this bank.",
                "Have it enabled by the bank and make another query, or ask at the bank itself.",
            ],
        ),
        AnswerKind::IdentityMismatch => told(
            [
                "您的姓名或手机号码与该银行登记的信息不一致，暂时无法查询。",
                "您的信息与该银行登记的不一致。",
                "请携带身份证件到该银行网点核对并更新信息，之后再查。",
            ],
            [
                "Your name or phone number differs from what this bank has on file, so it cannot answer.",
                "Your details differ from what this bank has on file.",
                "Have your details checked and updated at a branch, with your identity document, and make another query.",
            ],
        ),
        AnswerKind::Withheld => told(
            ["该银行的信息不在本服务中展示。", "该银行的信息不在这里展示。", "请直接向该银行查询。"],
            [
                "This bank's information is not shown in this service.",
                "This bank's information is not shown here.",
                "Ask this bank itself.",
            ],
        ),
    })
}

/// What a person reads about an internal system of a bank that did not answer.
pub fn of_missing(source: MissingSource) -> Option<Told> {
    Some(match source {
        MissingSource::Unspecified => return None,
        MissingSource::Debit => told(
            [
                "该银行的借记卡信息这次没有查全。",
                "该银行的借记卡没有查全。",
                "请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank's debit cards are not, or not all, in this report.",
                "Debit cards of this bank are missing.",
                "Make another query later, or ask this bank itself.",
            ],
        ),
        MissingSource::Credit => told(
            [
                "该银行的信用卡信息这次没有查全。",
                "该银行的信用卡没有查全。",
                "请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank's credit cards are not, or not all, in this report.",
                "Credit cards of this bank are missing.",
                "Make another query later, or ask this bank itself.",
            ],
        ),
        MissingSource::Prepaid => told(
            [
                "该银行的预付卡信息这次没有查全。",
                "该银行的预付卡没有查全。",
                "请之后再查一次，或直接向该银行查询。",
            ],
            [
                "This bank's prepaid cards are not, or not all, in this report.",
                "Prepaid cards of this bank are missing.",
                "Make another query later, or ask this bank itself.",
            ],
        ),
    })
}

/// What a person reads about the kind of a card.
pub fn of_card_kind(kind: CardKind) -> Option<Told> {
    const CHECK_ZH: &str = "请核对是否为您本人办理。";
    const CHECK_EN: &str = "Check that you opened it yourself.";
    Some(match kind {
        CardKind::Unknown => told(
            ["银行卡，种类不明。", "银行卡，种类不明。", "请向该银行询问卡的种类。"],
            ["A card of unknown kind.", "A card of unknown kind.", "Ask this bank which kind it is."],
        ),
        CardKind::Debit => {
            told(["借记卡。", "借记卡。", CHECK_ZH], ["A debit card.", "A debit card.", CHECK_EN])
        }
        CardKind::Credit => told(
            ["贷记卡（信用卡）。", "信用卡。", "请核对是否为您本人办理，并留意是否有欠款或年费。"],
            [
                "A credit card.",
                "A credit card.",
                "Check that you opened it yourself, and whether anything is owed on it.",
            ],
        ),
        CardKind::QuasiCredit => told(
            ["准贷记卡。", "准贷记卡。", "请核对是否为您本人办理，并留意是否有透支。"],
            [
                "A quasi-credit card: it holds deposits and can be overdrawn.",
                "A quasi credit card.",
                "Check that you opened it yourself, and whether it is overdrawn.",
            ],
        ),
        CardKind::DebitCredit => told(
            ["借贷合一卡。", "借贷合一卡。", "请核对是否为您本人办理，并留意是否有欠款。"],
            [
                "A card with a debit and a credit account.",
                "A card with a debit and a credit account.",
                "Check that you opened it yourself, and whether anything is owed on it.",
            ],
        ),
        CardKind::Prepaid => told(
            ["预付卡。", "预付卡。", "请核对是否为您本人办理，并留意是否还有余额。"],
            [
                "A prepaid card.",
                "A prepaid card.",
                "Check that you bought it yourself, and whether money is left on it.",
            ],
        ),
        CardKind::SemiOpenPrepaid => told(
            [
                "半开放预付卡，只能在部分商户使用。",
                "半开放预付卡。",
                "请核对是否为您本人办理，并留意是否还有余额。",
            ],
            [
                "A prepaid card that only some shops take.",
                "A prepaid card that only some shops take.",
                "Check that you bought it yourself, and whether money is left on it.",
            ],
        ),
    })
}

/// What a person reads about the class of the account behind a card; `None` where there is no class.
pub fn of_account_class(class: AccountClass) -> Option<Told> {
    Some(match class {
        AccountClass::None => return None,
        AccountClass::I => told(
            [
                "Ⅰ类账户：功能齐全，没有交易限额，每人在同一家银行只能开立一个。",
                "一类账户，功能齐全。",
                "请妥善保管；长期不用的，可以向银行申请降级或销户。",
            ],
            [
                "A class Ⅰ account: all functions, no limits; one per person and bank.",
                "A class one account with all functions.",
                "Keep it safe. If you do not use it, ask the bank to lower its class or to close it.",
            ],
        ),
        AccountClass::Ii => told(
            [
                "Ⅱ类账户：有交易限额，可用于理财和日常消费。",
                "二类账户，有交易限额。",
                "不再使用的，可以向银行申请销户。",
            ],
            [
                "A class Ⅱ account: with limits, for savings products and daily payments.",
                "A class two account with limits.",
                "If you do not use it any more, ask the bank to close it.",
            ],
        ),
        AccountClass::Iii => told(
            [
                "Ⅲ类账户：限额较低，用于小额支付。",
                "三类账户，用于小额支付。",
                "不再使用的，可以向银行申请销户。",
            ],
            [
                "A class Ⅲ account: with low limits, for small payments.",
                "A class three account for small payments.",
                "If you do not use it any more, ask the bank to close it.",
            ],
        ),
    })
}

/// What a person reads about the state of a card; `None` for what no card is in.
pub fn of_card_status(status: CardStatus) -> Option<Told> {
    Some(match status {
        CardStatus::Unspecified => return None,
        CardStatus::Normal => told(
            ["卡片状态正常。", "卡片状态正常。", "不是您办理或不再使用的卡，请联系该银行处理。"],
            [
                "The card is in use.",
                "The card is in use.",
                "If it is not yours, or you do not need it, contact the bank.",
            ],
        ),
        CardStatus::NotActivated => told(
            ["卡片尚未激活。", "卡片尚未激活。", "不准备使用的，请联系该银行销卡。"],
            [
                "The card was never activated.",
                "The card was never activated.",
                "If you do not want it, have it closed by the bank.",
            ],
        ),
        CardStatus::Dormant => told(
            [
                "按该银行的规则，这张卡长期未使用（睡眠卡）。",
                "这张卡长期没有使用。",
                "不再需要的，建议尽快销卡；仍要使用的，请联系该银行激活。",
            ],
            [
                "By the bank's rule this card has lain unused for a long time.",
                "This card has not been used for a long time.",
                "Close it if you do not need it. To use it again, have it reactivated by the bank.",
            ],
        ),
        CardStatus::LostReported => told(
            ["卡片已挂失。", "卡片已挂失。", "请到该银行网点办理补卡或销卡。"],
            [
                "The card was reported lost.",
                "The card was reported lost.",
                "Have it replaced or closed at a branch.",
            ],
        ),
        CardStatus::Locked => told(
            ["卡片已锁定，暂时不能使用。", "卡片已锁定。", "请致电该银行或到网点了解如何解锁。"],
            [
                "The card is locked and cannot be used at present.",
                "The card is locked.",
                "Call the bank or visit a branch to learn how it can be unlocked.",
            ],
        ),
        CardStatus::Expired => told(
            ["卡片已过有效期。", "卡片已过有效期。", "请联系该银行换卡或销卡。"],
            ["The card has expired.", "The card has expired.", "Have it replaced or closed by the bank."],
        ),
        CardStatus::Cancelling => told(
            ["卡片正在办理销卡。", "卡片正在销卡。", "无需操作；如非您本人申请，请尽快联系该银行。"],
            [
                "The card is being closed.",
                "The card is being closed.",
                "Nothing is needed. If you did not ask for it, contact the bank soon.",
            ],
        ),
        CardStatus::Withheld => told(
            ["这张卡的状态不在本服务中展示。", "这张卡的状态不在这里展示。", "请直接向该银行查询。"],
            [
                "The state of this card is not shown in this service.",
                "The state of this card is not shown here.",
                "Ask this bank itself.",
            ],
        ),
        CardStatus::Unknown => told(
            ["卡片状态不明。", "卡片状态不明。", "请向该银行询问这张卡的状态。"],
            [
                "The state of this card is not known.",
                "The state of this card is not known.",
                "Ask this bank about it.",
            ],
        ),
    })
}

/// What a person reads about the regulator's own rule; `None` where it says nothing about the card.
pub fn of_regulator_dormancy(verdict: RegulatorDormancy) -> Option<Told> {
    Some(match verdict {
        RegulatorDormancy::Unspecified => return None,
        RegulatorDormancy::NotDormant => told(
            [
                "按监管部门的统一标准，这张卡不属于长期睡眠卡。",
                "按监管标准，这张卡不属于睡眠卡。",
                "银行自己的规则可能更严，以卡片状态为准。",
            ],
            [
                "By the regulator's own rule this card does not count as dormant.",
                "By the regulator's rule this card is not dormant.",
                "The bank's rule can be stricter; the card's status says what the bank does.",
            ],
        ),
        RegulatorDormancy::Dormant => told(
            [
                "按监管部门的统一标准，这张卡属于长期睡眠卡：超过18个月没有使用，也没有欠款和余额。",
                "按监管标准，这张卡属于睡眠卡。",
                "不再需要的，建议尽快销卡；仍要使用的，请联系该银行。",
            ],
            [
                "By the regulator's own rule this card is dormant: not used for more than 18 months, with nothing on it or \
                 owed.",
                "By the regulator's rule this card is dormant.",
                "Close it if you do not need it. To go on using it, contact the bank.",
            ],
        ),
    })
}

/// What a person reads about a thing that can be done; `next` says how. The bank's own numbers and ways stand in its
/// registry entry.
pub fn of_next_action(action: NextAction) -> Option<Told> {
    Some(match action {
        NextAction::Unspecified => return None,
        NextAction::Close => told(
            [
                "不再使用的卡可以销卡。",
                "不用的卡可以销卡。",
                "请先结清余额和欠款，再通过该银行的网点或手机银行办理销卡。",
            ],
            [
                "A card that you do not use can be closed.",
                "A card that you do not use can be closed.",
                "Settle what is on it or owed on it, then close it at a branch or in the bank's app.",
            ],
        ),
        NextAction::Reactivate => told(
            [
                "仍要使用的睡眠卡可以重新激活。",
                "仍要使用的卡可以重新激活。",
                "请携带身份证件到该银行网点办理，或通过其手机银行激活。",
            ],
            [
                "A card that lay unused can be reactivated.",
                "A card that lay unused can be reactivated.",
                "Do it at a branch with your identity document, or in the bank's app.",
            ],
        ),
        NextAction::ReportNotMine => told(
            [
                "这张卡不是您办理的，可以向银行申报。",
                "不是您办理的卡，请向银行申报。",
                "请尽快致电该银行客服说明情况；如怀疑被人冒用，请拨打110报警。",
            ],
            [
                "If this card is not yours you can tell the bank.",
                "If this card is not yours, tell the bank.",
                "Call the bank soon. If you suspect that somebody uses your name, call the police under 110.",
            ],
        ),
        NextAction::VisitBranch => told(
            ["这件事需要到银行网点办理。", "需要到银行网点办理。", "请携带本人有效身份证件前往该银行网点。"],
            [
                "This has to be done at a branch.",
                "This has to be done at a branch.",
                "Go to a branch of this bank with your valid identity document.",
            ],
        ),
        NextAction::CallBank => told(
            ["请致电银行客服了解情况。", "请致电银行客服。", "请拨打卡片背面或该银行官方公布的客服电话。"],
            [
                "Call the bank to learn more.",
                "Call the bank to learn more.",
                "Use the number on the back of the card, or the one that the bank publishes itself.",
            ],
        ),
    })
}
