//! Methods and rejections: how a request that fits no route becomes a problem document.
//!
//! warp joins the rejections of all routes that were tried, and only the first of each type can be found again.
//! So each method has a rejection type of its own, and a 405 can name every method that the path takes.

use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use warp::http::header::ALLOW;
use warp::http::{HeaderValue, Method};
use warp::reject::{InvalidHeader, Reject};
use warp::{Filter, Rejection};

use crate::response::{HttpResponse, Routes, problem};

/// A request refused inside a filter, with the problem that the caller gets.
#[derive(Debug)]
pub struct Refused(pub Problem);

impl Reject for Refused {}

/// A rejection that carries `problem` to the caller.
pub fn refuse(problem: Problem) -> Rejection {
    warp::reject::custom(Refused(problem))
}

/// The path fits a route that takes the method of this index, and the request has another.
#[derive(Debug)]
struct NotMethod<const INDEX: usize>;

impl<const INDEX: usize> Reject for NotMethod<INDEX> {}

/// What `Allow` says for each index.
const ALLOWED: [&str; 4] = ["GET, HEAD", "POST", "PATCH", "DELETE"];

fn method<const INDEX: usize>(
    fits: fn(&Method) -> bool,
) -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    warp::method()
        .and_then(move |method: Method| {
            std::future::ready(if fits(&method) {
                Ok(())
            } else {
                Err(warp::reject::custom(NotMethod::<INDEX>))
            })
        })
        .untuple_one()
}

/// GET, and HEAD with it: the door leaves the body out. Put it after the path, so that a wrong method is a 405.
pub fn get() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    method::<0>(|method| matches!(*method, Method::GET | Method::HEAD))
}

/// POST; put it after the path.
pub fn post() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    method::<1>(|method| *method == Method::POST)
}

/// PATCH; put it after the path.
pub fn patch() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    method::<2>(|method| *method == Method::PATCH)
}

/// DELETE; put it after the path.
pub fn delete() -> impl Filter<Extract = (), Error = Rejection> + Copy + Send + Sync + 'static {
    method::<3>(|method| *method == Method::DELETE)
}

fn allowed(rejection: &Rejection) -> Vec<&'static str> {
    let refused = [
        rejection.find::<NotMethod<0>>().is_some(),
        rejection.find::<NotMethod<1>>().is_some(),
        rejection.find::<NotMethod<2>>().is_some(),
        rejection.find::<NotMethod<3>>().is_some(),
    ];
    ALLOWED
        .into_iter()
        .zip(refused)
        .filter_map(|(name, refused)| refused.then_some(name))
        .collect()
}

fn rejected(rejection: &Rejection) -> HttpResponse {
    if let Some(Refused(refused)) = rejection.find() {
        return problem(refused);
    }
    // Before the methods: the route that takes this one refused a header, and others refused the method.
    if let Some(header) = rejection.find::<InvalidHeader>() {
        let detail = format!("the header `{}` holds what is not visible ASCII", header.name());
        return problem(&Problem::new(ErrorCode::InvalidParameter, detail));
    }
    let allowed = allowed(rejection);
    if !allowed.is_empty() {
        let allow = allowed.join(", ");
        let detail = format!("this path takes {allow}");
        let mut response = problem(&Problem::new(ErrorCode::MethodNotAllowed, detail));
        response.headers_mut().insert(
            ALLOW,
            HeaderValue::from_str(&allow).expect("method names are header text"),
        );
        return response;
    }
    if rejection.is_not_found() {
        let detail = "no route has this path; GET /openapi.json lists them";
        return problem(&Problem::new(ErrorCode::RouteNotFound, detail));
    }
    // Our filters refuse with `Refused` alone, so a rejection of warp's own is a filter that we forgot.
    tracing::error!(rejection = ?rejection, "a request was rejected without a problem");
    problem(&Problem::new(
        ErrorCode::Internal,
        "the request could not be routed; the log has the reason",
    ))
}

/// Turns whatever no route answered into a problem: 404, 405 with `Allow`, or the one that a filter refused with.
/// To be put around all routes of a listener, once.
pub fn finish(routes: Routes) -> Routes {
    routes
        .recover(|rejection: Rejection| {
            std::future::ready(Ok::<_, std::convert::Infallible>(rejected(&rejection)))
        })
        .unify()
        .boxed()
}
