//! Rules: mail, chat and telephony.

use super::{Class, Rule, Severity, Shape};
use crate::validate::MIXED;

/// The rules.
pub(super) const RULES: &[Rule] = &[
    Rule::token("slack-token", &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxe-", "xoxe.xoxb-", "xoxe.xoxp-", "xapp-", "xoxc-", "xoxd-"], Class::Base64Url, (10, 1024))
        .says("Slack token", "`xoxb-`, `xoxp-`, `xoxa-`, `xoxr-`, `xoxs-`, `xoxo-`, `xoxe-`, `xoxe.xoxb-`, `xoxe.xoxp-`, `xapp-`, `xoxc-`, `xoxd-`, then 10 to 1024 letters, digits, `_` and `-`. Source: Slack API documentation, \"Token types\".")
        .tried(&["xoxb-{!num:12}-{!num:12}-{alnum:24}", "xapp-1-A{up:10}-{num:13}-{hex:64}", "xoxe.xoxp-1-{up:163}"], &["xoxb-"]),
    Rule::new("slack-webhook", &["hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"], Shape::Following { class: Class::Base64, min: 40 })
        .says("Slack webhook URL", "What follows `hooks.slack.com/services/`, `/workflows/` or `/triggers/`, 40 characters and more: whoever has it can post. Source: Slack API documentation, \"Incoming webhooks\".")
        .tried(&["https://hooks.slack.com/services/T{up:8}/B{up:10}/{alnum:24}"], &["https://hooks.slack.com/services/"]),
    Rule::named("discord-token", &["discord"], Class::Base64UrlDot, (32, 72))
        .says("Discord token or client secret, by its name", "The name `discord` in any case, up to 40 bytes of a longer name, a sign of assignment, then 32 to 72 letters, digits, `_`, `-` and `.`: only these are replaced. Source: Discord documentation, \"OAuth2\" and \"Bot authorization flow\".")
        .checked(MIXED)
        .tried(&["discord_key = \"{url:32}\"", "DISCORD_TOKEN: {url:32}"], &["discord is a name", "discord_key = \"{url:16}\""]),
    Rule::named("discord-client", &["discord"], Class::Digit, (17, 20))
        .says("Discord client id, by its name", "The name `discord` in any case, up to 40 bytes of a longer name, a sign of assignment, then 17 to 20 digits: only these are replaced. Source: Discord documentation, \"Snowflakes\".")
        .of(Severity::Low)
        .tried(&["discord_key = \"{num:17}\"", "DISCORD_TOKEN: {num:17}"], &["discord is a name", "discord_key = \"{num:8}\""]),
    Rule::new("discord-webhook", &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"], Shape::Following { class: Class::Token68, min: 60 })
        .says("Discord webhook URL", "What follows `discord.com/api/webhooks/`, id and token, 60 characters and more. Source: Discord documentation, \"Webhook resource\".")
        .tried(&["https://discord.com/api/webhooks/{!num:18}/{url:68}"], &["https://discord.com/api/webhooks/"]),
    Rule::new("telegram-token", &[":A"], Shape::Around { class: Class::Base64Url, before: (5, 16), after: (34, 34) })
        .says("Telegram bot token", "5 to 16 digits, `:A`, then 34 letters, digits, `_` and `-`. Source: Telegram Bot API documentation, \"Authorizing your bot\".")
        .checked(MIXED)
        .tried(&["bot{!num:3} {num:9}:A{url:34} end"], &["5:A", "12345:Ashort"]),
    Rule::token("twilio-key", &["SK", "AC"], Class::Hex, (32, 32))
        .says("Twilio API key or account SID", "`SK`, `AC`, then exactly 32 hexadecimal digits. The key's secret has no prefix and is found by its name only. Source: Twilio documentation, \"API keys\".")
        .tried(&["SK{hex:32}"], &["SK{hex:16}", "TASK{hex:32}", "SK{hex:33}"]),
    Rule::token("sendgrid-key", &["SG."], Class::Token68, (60, 80))
        .says("SendGrid key", "`SG.`, then 60 to 80 token68 characters. Source: Twilio SendGrid documentation, \"API keys\": 69 characters, two dots.")
        .tried(&["SG.{url:22}.{url:43}"], &["SG.1"]),
    Rule::token("mailgun-key", &["key-", "pubkey-"], Class::Hex, (32, 32))
        .says("Mailgun private or public key", "`key-`, `pubkey-`, then exactly 32 hexadecimal digits. Source: Mailgun documentation, \"API keys\".")
        .tried(&["key key-{hex:32} end"], &["key-{hex:4} is short"]),
    Rule::named("mailgun-signing-key", &["mailgun"], Class::HexDash, (50, 50))
        .says("Mailgun webhook signing key, by its name", "The name `mailgun` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 50 hexadecimal digits and `-`: only these are replaced. Source: Mailgun documentation, \"Securing webhooks\".")
        .tried(&["mailgun_signing = \"{hex:32}-{hex:8}-{hex:8}\""], &["mailgun is a name", "mailgun_key = \"{hex:25}\""]),
    Rule::named("mailgun-signing", &["mailgun"], Class::Base64Url, (50, 50))
        .says("Mailgun signing key of the older alphabet, by its name", "The name `mailgun` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 50 letters, digits, `_` and `-`: only these are replaced. Source: Mailgun documentation, \"Securing webhooks\".")
        .checked(MIXED)
        .tried(&["mailgun_signing = \"h{hex:31}-{hex:8}-{hex:8}\""], &["mailgun is a name", "mailgun_key = \"{url:25}\""]),
    Rule::new("mailchimp-key", &["-us"], Shape::Around { class: Class::Hex, before: (32, 32), after: (1, 2) })
        .says("Mailchimp API key", "32 hexadecimal digits, `-us` and the number of a data centre. Source: Mailchimp Marketing API documentation, \"API keys\".")
        .tried(&["mc: {hex:32}-us12 end"], &["en-us", "{hex:8}-us1"]),
    Rule::token("brevo-key", &["xkeysib-", "xsmtpsib-"], Class::Base64Url, (81, 81))
        .says("Brevo (Sendinblue) API or SMTP key", "`xkeysib-`, `xsmtpsib-`, then exactly 81 letters, digits, `_` and `-`. Source: Brevo documentation, \"Authentication\".")
        .tried(&["xkeysib-{hex:64}-{alnum:16}"], &["xkeysib-{url:4} is short"]),
    Rule::named("messagebird-key", &["messagebird", "message_bird", "message-bird"], Class::Alnum, (25, 25))
        .says("MessageBird API key, by its name", "The name `messagebird`, `message_bird`, `message-bird` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 25 letters and digits: only these are replaced. Source: MessageBird documentation, \"API access keys\".")
        .checked(MIXED)
        .tried(&["messagebird_key = \"{low:25}\"", "MESSAGEBIRD_TOKEN: {low:25}"], &["messagebird is a name", "messagebird_key = \"{low:12}\""]),
    Rule::named("messagebird-client", &["messagebird", "message_bird", "message-bird"], Class::HexDash, (36, 36))
        .says("MessageBird client id, by its name", "The name `messagebird`, `message_bird`, `message-bird` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: MessageBird documentation, \"OAuth\".")
        .tried(&["messagebird_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "MESSAGEBIRD_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["messagebird is a name", "messagebird_key = \"{hex:18}\""]),
    Rule::named("sendbird-token", &["sendbird"], Class::Hex, (40, 40))
        .says("Sendbird API token, by its name", "The name `sendbird` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 hexadecimal digits: only these are replaced. Source: Sendbird documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["sendbird_key = \"{hex:40}\"", "SENDBIRD_TOKEN: {hex:40}"], &["sendbird is a name", "sendbird_key = \"{hex:20}\""]),
    Rule::named("sendbird-id", &["sendbird"], Class::HexDash, (36, 36))
        .says("Sendbird application id, by its name", "The name `sendbird` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 36 hexadecimal digits and `-`: only these are replaced. Source: Sendbird documentation, \"Application\".")
        .tried(&["sendbird_key = \"{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}\"", "SENDBIRD_TOKEN: {hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["sendbird is a name", "sendbird_key = \"{hex:18}\""]),
    Rule::new("teams-webhook", &[".webhook.office.com/webhookb2/"], Shape::Following { class: Class::Loose, min: 36 })
        .says("Microsoft Teams webhook URL", "What follows `.webhook.office.com/webhookb2/` up to the next byte outside its alphabet. Source: Microsoft Teams documentation, \"Incoming webhooks\".")
        .tried(&["https://x.webhook.office.com/webhookb2/{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["https://x.webhook.office.com/webhookb2/"]),
    Rule::new("teams-webhook-tail", &["/IncomingWebhook/"], Shape::Following { class: Class::Loose, min: 32 })
        .says("secret half of a Microsoft Teams webhook URL", "What follows `/IncomingWebhook/`, 32 characters and more. Source: Microsoft Teams documentation, \"Incoming webhooks\".")
        .tried(&["@{!hex:8}/IncomingWebhook/{hex:32}/{hex:8}-{hex:4}-{hex:4}-{hex:4}-{hex:12}"], &["/IncomingWebhook/ is a path"]),
    Rule::named("intercom-key", &["intercom"], Class::Token68, (60, 60))
        .says("Intercom token, by its name", "The name `intercom` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 60 token68 characters: only these are replaced. Source: Intercom documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["intercom_key = \"{url:60}\"", "INTERCOM_TOKEN: {url:60}"], &["intercom is a name", "intercom_key = \"{url:30}\""]),
    Rule::named("gitter-token", &["gitter"], Class::Base64Url, (40, 40))
        .says("Gitter token, by its name", "The name `gitter` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 letters, digits, `_` and `-`: only these are replaced. Source: Gitter developer documentation, \"Authentication\".")
        .checked(MIXED)
        .tried(&["gitter_key = \"{url:40}\"", "GITTER_TOKEN: {url:40}"], &["gitter is a name", "gitter_key = \"{url:20}\""]),
    Rule::named("mattermost-token", &["mattermost"], Class::Alnum, (26, 26))
        .says("Mattermost token, by its name", "The name `mattermost` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 26 letters and digits: only these are replaced. Source: Mattermost documentation, \"Personal access tokens\".")
        .checked(MIXED)
        .tried(&["mattermost_key = \"{low:26}\"", "MATTERMOST_TOKEN: {low:26}"], &["mattermost is a name", "mattermost_key = \"{low:13}\""]),
    Rule::named("zendesk-key", &["zendesk"], Class::Alnum, (40, 40))
        .says("Zendesk secret, by its name", "The name `zendesk` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 40 letters and digits: only these are replaced. Source: Zendesk documentation, \"API token access\".")
        .checked(MIXED)
        .tried(&["zendesk_key = \"{low:40}\"", "ZENDESK_TOKEN: {low:40}"], &["zendesk is a name", "zendesk_key = \"{low:20}\""]),
    Rule::named("beamer-token", &["beamer"], Class::Token68, (46, 46))
        .says("Beamer API token, by its name", "The name `beamer` in any case, up to 40 bytes of a longer name, a sign of assignment, then exactly 46 token68 characters: only these are replaced. Source: Beamer documentation, \"API\".")
        .checked(MIXED)
        .tried(&["beamer_key = \"b_{url:44}\""], &["beamer is a name", "beamer_key = \"{url:23}\""]),
    Rule::token("resend-key", &["re_"], Class::Word, (32, 40))
        .says("Resend API key", "`re_`, then 32 to 40 letters, digits and `_`. Source: Resend documentation, \"API keys\".")
        .checked(MIXED)
        .tried(&["re_{alnum:8}_{alnum:24}"], &["re_{word:4} is short"]),
    Rule::token("telnyx-key", &["KEY0"], Class::Base64Url, (50, 60))
        .says("Telnyx API key", "`KEY0`, then 50 to 60 letters, digits, `_` and `-`. Source: Telnyx documentation, \"API keys\".")
        .tried(&["KEY0{hex:31}_{alnum:22}"], &["KEY0{url:4} is short"]),
];
