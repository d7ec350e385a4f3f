//! Describes one operation: what every route has in common (keys, problems, headers) is added here, once.

use std::collections::BTreeMap;

use posthaste_types::{ErrorCode, Scope};
use serde_json::Value;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{
    Content, ContentBuilder, Header, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::{headers, problems};

/// Name of the security scheme of API keys.
pub(crate) const KEY: &str = "key";
/// Name of the security scheme of stream tokens.
pub(crate) const STREAM_TOKEN: &str = "stream_token";

/// What the front door may answer before any route: a bad `Host`, a foreign one where no key is asked for, and so on.
const EVERYWHERE: [ErrorCode; 5] = [
    ErrorCode::InvalidParameter,
    ErrorCode::Forbidden,
    ErrorCode::UriTooLong,
    ErrorCode::ExpectationFailed,
    ErrorCode::Internal,
];

/// An operation that is being described.
pub(crate) struct Operation {
    pub(crate) path: &'static str,
    pub(crate) method: HttpMethod,
    pub(crate) builder: OperationBuilder,
    /// Whether its tenant's limits count it, and its answers tell of them.
    is_limited: bool,
    /// Every problem that it may answer with.
    pub(crate) codes: Vec<ErrorCode>,
}

/// A successful answer that is being described.
pub(crate) struct Answer(&'static str, ResponseBuilder);

impl Operation {
    /// `id` is unique and never changes: generated clients name their methods after it.
    pub(crate) fn new(
        (method, path): (HttpMethod, &'static str),
        tag: &str,
        id: &str,
        summary: &str,
    ) -> Self {
        let builder = OperationBuilder::new()
            .tag(tag)
            .operation_id(Some(id))
            .summary(Some(summary));
        let operation = Self {
            path,
            method,
            builder,
            is_limited: false,
            codes: EVERYWHERE.to_vec(),
        };
        operation.path_parameters()
    }

    /// A route below `/v1`: it asks for a key with `scope`, and depends on the record.
    pub(crate) fn key(mut self, scope: Scope) -> Self {
        self.is_limited = true;
        let scopes = [scope.as_str()];
        self.builder = self.builder.security(SecurityRequirement::new(KEY, scopes));
        self.refuses([
            ErrorCode::Unauthenticated,
            ErrorCode::Forbidden,
            ErrorCode::TooManyRequests,
            ErrorCode::Unavailable,
        ])
    }

    /// A route that takes a stream token too.
    pub(crate) fn or_stream_token(mut self) -> Self {
        let none: [&str; 0] = [];
        self.builder = self
            .builder
            .security(SecurityRequirement::new(STREAM_TOKEN, none));
        self
    }

    /// A route that everybody may use.
    pub(crate) fn open(mut self) -> Self {
        self.builder = self.builder.securities(Some([]));
        self
    }

    pub(crate) fn about(mut self, description: &str) -> Self {
        self.builder = self.builder.description(Some(description));
        self
    }

    /// The ids in its path; what is no id names nothing.
    fn path_parameters(mut self) -> Self {
        let Some((before, rest)) = self.path.split_once("/{") else {
            return self;
        };
        let (name, _) = rest.split_once('}').expect("a parameter's name ends");
        let (schema, about) = match before {
            "/v1/tasks" => ("TaskId", "The task's id."),
            "/v1/endpoints" => ("EndpointId", "The endpoint's id."),
            "/v1/connectors" => ("Slot", "The replication slot that the connector reads."),
            _ => ("KeyId", "The key's id."),
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(about))
            .schema(Some(Ref::from_schema_name(schema)));
        self.builder = self.builder.parameter(parameter);
        self.refuses([ErrorCode::NotFound])
    }

    /// Query parameters and headers; what is not understood is refused.
    pub(crate) fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        for parameter in parameters {
            self.builder = self.builder.parameter(parameter);
        }
        self.refuses([ErrorCode::InvalidParameter])
    }

    /// A JSON body.
    pub(crate) fn body<T: ToSchema>(mut self, examples: &[(&str, Value)]) -> Self {
        let content = with_examples(ContentBuilder::new().schema(Some(reference::<T>())), examples);
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(Required::True));
        self.builder = self.builder.request_body(Some(body.build()));
        self.refuses([
            ErrorCode::InvalidRequest,
            ErrorCode::RequestTimeout,
            ErrorCode::BodyTooLarge,
            ErrorCode::ExpectationFailed,
            ErrorCode::UnsupportedMediaType,
        ])
    }

    pub(crate) fn answers(mut self, answer: Answer) -> Self {
        let answer = if self.is_limited {
            answer.headers([headers::rate_limit_policy(), headers::rate_limit()])
        } else {
            answer
        };
        let Answer(status, response) = answer;
        self.builder = self.builder.response(status, response.build());
        self
    }

    pub(crate) fn refuses(mut self, codes: impl IntoIterator<Item = ErrorCode>) -> Self {
        self.codes.extend(codes);
        self
    }

    /// Adds the problems, one response for each status, and returns their names with their codes.
    pub(crate) fn finish(mut self) -> (Self, BTreeMap<String, Vec<ErrorCode>>) {
        let mut used = BTreeMap::new();
        for (status, codes) in problems::by_status(&self.codes) {
            let name = problems::name(&codes);
            let reference: RefOr<Response> = Ref::from_response_name(&name).into();
            self.builder = self.builder.response(status.to_string(), reference);
            used.insert(name, codes);
        }
        (self, used)
    }
}

impl Answer {
    /// An answer without a body.
    pub(crate) fn empty(status: &'static str, description: &str) -> Self {
        Self(status, ResponseBuilder::new().description(description)).headers([headers::request_id()])
    }

    /// A JSON answer.
    pub(crate) fn json<T: ToSchema>(status: &'static str, description: &str, example: Value) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(reference::<T>()))
            .example(Some(example));
        Self::empty(status, description).content("application/json", content.build())
    }

    /// An answer that is no JSON.
    pub(crate) fn text(status: &'static str, description: &str, media_type: &str, example: &str) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(String::schema()))
            .example((!example.is_empty()).then(|| example.into()));
        Self::empty(status, description).content(media_type, content.build())
    }

    pub(crate) fn content(self, media_type: &str, content: Content) -> Self {
        Self(self.0, self.1.content(media_type, content))
    }

    pub(crate) fn headers<const N: usize>(self, headers: [(&str, Header); N]) -> Self {
        let with = |response: ResponseBuilder, (name, header)| response.header(name, header);
        Self(self.0, headers.into_iter().fold(self.1, with))
    }
}

/// A reference to the component of a type.
pub(crate) fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// An empty value counts as absent.
pub(crate) fn query(name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> ParameterBuilder {
    let empty: Extensions = [("allowEmptyValue", true)].into_iter().collect();
    parameter(ParameterIn::Query, name, about, schema).extensions(Some(empty))
}

pub(crate) fn header(name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    parameter(ParameterIn::Header, name, about, schema).build()
}

fn parameter(
    place: ParameterIn,
    name: &str,
    about: &str,
    schema: impl Into<RefOr<Schema>>,
) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema))
}

fn with_examples(content: ContentBuilder, examples: &[(&str, Value)]) -> Content {
    let named = examples.iter().map(|(summary, value)| {
        let name = summary.to_lowercase().replace(' ', "_");
        let example = utoipa::openapi::example::ExampleBuilder::new()
            .summary(*summary)
            .value(Some(value.clone()));
        (name, example)
    });
    content.examples_from_iter(named).build()
}
