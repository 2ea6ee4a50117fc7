//! The ten pretexts of scammers, and the answer that nobody asked.

use super::{Told, told};
use crate::wire::Pretext;

/// What a person reads beside each answer to "did anyone ask you to do this?"; `None` for what says nothing.
pub fn of_pretext(pretext: Pretext) -> Option<Told> {
    Some(match pretext {
        Pretext::Unspecified => return None,
        Pretext::None => told(
            [
                "没有人要求我查卡，是我自己要查。",
                "没有人要求我查卡。",
                "请在您自己的手机上操作，不要把查询结果和验证码告诉任何人。",
            ],
            [
                "Nobody asked me to do this; I want to look for myself.",
                "Nobody asked me to do this.",
                "Use your own phone, and tell nobody the result or any verification code.",
            ],
        ),
        Pretext::Investment => told(
            [
                "有人以投资理财、高额回报为由要求您查卡，这是诈骗。",
                "以投资理财为由要求查卡是诈骗。",
                "请立即停止操作，不要转账，并拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards for an investment with high returns: this is a scam.",
                "Being asked to check your cards for an investment is a scam.",
                "Stop now, transfer no money, and call the anti-fraud line 96110.",
            ],
        ),
        Pretext::LoanApproval => told(
            [
                "有人以贷款审批、验证还款能力为由要求您查卡，这是诈骗。",
                "以贷款审批为由要求查卡是诈骗。",
                "请立即停止操作。正规贷款不会在放款前要求查卡或转账，可拨打反诈专线96110核实。",
            ],
            [
                "Somebody asks you to check your cards to have a loan approved: this is a scam.",
                "Being asked to check your cards for a loan is a scam.",
                "Stop now. No real lender asks for this or for money in advance. Call the anti-fraud line 96110.",
            ],
        ),
        Pretext::ParcelClaim => told(
            [
                "有人以快递丢失、理赔退款为由要求您查卡，这是诈骗。",
                "以快递理赔为由要求查卡是诈骗。",
                "请立即停止操作，通过快递公司的官方电话核实，或拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards to be paid for a lost parcel: this is a scam.",
                "Being asked to check your cards for a lost parcel is a scam.",
                "Stop now. Ask the carrier under its official number, or call the anti-fraud line 96110.",
            ],
        ),
        Pretext::MembershipCancellation => told(
            [
                "有人以取消会员、避免自动扣费为由要求您查卡，这是诈骗。",
                "以会员退订为由要求查卡是诈骗。",
                "请立即停止操作，退订请在相应应用内办理，也可拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards to cancel a membership or a charge: this is a scam.",
                "Being asked to check your cards to cancel a membership is a scam.",
                "Stop now. Cancel in the app concerned only, or call the anti-fraud line 96110.",
            ],
        ),
        Pretext::FakeOrders => told(
            [
                "有人以网购刷单、做任务返利为由要求您查卡，这是诈骗。",
                "以网购刷单为由要求查卡是诈骗。",
                "请立即停止操作，刷单本身就是违法行为，请拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards for paid orders or tasks in an online shop: this is a scam.",
                "Being asked to check your cards for paid online orders is a scam.",
                "Stop now. Placing fake orders is itself against the law. Call the anti-fraud line 96110.",
            ],
        ),
        Pretext::CreditLimitRaise => told(
            [
                "有人以提高信用卡额度为由要求您查卡，这是诈骗。",
                "以信用卡提额为由要求查卡是诈骗。",
                "请立即停止操作，提额请通过发卡银行的官方渠道申请，也可拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards to raise a credit card limit: this is a scam.",
                "Being asked to check your cards for a higher credit limit is a scam.",
                "Stop now. Ask the card's bank through its own channels, or call the anti-fraud line 96110.",
            ],
        ),
        Pretext::StudentAccountChange => told(
            [
                "有人以变更学生账户、影响征信为由要求您查卡，这是诈骗。",
                "以变更学生账户为由要求查卡是诈骗。",
                "请立即停止操作。个人征信无法由他人代为修改，请拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards because a student account must be changed: this is a scam.",
                "Being asked to check your cards for a student account is a scam.",
                "Stop now. Nobody can change your credit record for you. Call the anti-fraud line 96110.",
            ],
        ),
        Pretext::AccountClosure => told(
            [
                "有人以注销网贷或其他账户为由要求您查卡，这是诈骗。",
                "以注销账户为由要求查卡是诈骗。",
                "请立即停止操作。注销账户不需要查卡或转账，请拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards because an account must be closed: this is a scam.",
                "Being asked to check your cards to close an account is a scam.",
                "Stop now. Closing an account needs neither this check nor a transfer. Call the anti-fraud line 96110.",
            ],
        ),
        Pretext::SecurityVerification => told(
            [
                "有人以对接安全认证、验证账户安全为由要求您查卡，这是诈骗。",
                "以安全认证为由要求查卡是诈骗。",
                "请立即停止操作，不要共享屏幕，不要提供验证码，并拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards to prove that an account is safe: this is a scam.",
                "Being asked to check your cards for a security verification is a scam.",
                "Stop now, share no screen and no verification code, and call the anti-fraud line 96110.",
            ],
        ),
        Pretext::EducationCreditReturn => told(
            [
                "有人以归还教育贷款额度为由要求您查卡，这是诈骗。",
                "以归还教育额度为由要求查卡是诈骗。",
                "请立即停止操作，不要按对方要求借款或转账，并拨打反诈专线96110。",
            ],
            [
                "Somebody asks you to check your cards to give back an education credit: this is a scam.",
                "Being asked to check your cards to return an education credit is a scam.",
                "Stop now, borrow and transfer nothing for anybody, and call the anti-fraud line 96110.",
            ],
        ),
    })
}
