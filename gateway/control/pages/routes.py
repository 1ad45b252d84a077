"""The pages' routes. A form goes to the address of the page that it stands on, and what it changed is seen there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import Scope

from adapters.errors import ServingError
from gateway.conduct.desk import ExperimentDesk
from gateway.control.besides import NOTHING, Besides
from gateway.control.certificates import Certificates
from gateway.control.pages.edge import change_rollout, show_edge
from gateway.control.pages.experiment import change_experiment, desk_of, show_experiment
from gateway.control.pages.experiments import create_experiment, show_experiments
from gateway.control.pages.forms import Form, read_form, status_of
from gateway.control.pages.model import change_label, show_comparison, show_model
from gateway.control.pages.overview import show_overview
from gateway.control.pages.rendering import Renderer
from gateway.control.pages.site import Site
from gateway.control.pages.traffic import TrafficWatch
from gateway.controlplane import ControlPlane
from gateway.front import Front
from gateway.labels import Labels

_COMPARE: Final = "compare"


def add_pages(
    app: FastAPI,
    control: ControlPlane,
    front: Front,
    labels: Labels,
    desk: ExperimentDesk | None,
    inference_url: Callable[[], str],
    certificates: Certificates,
    besides: Besides = NOTHING,
) -> None:
    """Add the pages; before TorchServe's routes, which claim everything below /models.

    `desk` is None where this gateway conducts no experiments; `inference_url` is asked where requests are sent to two
    deployments.
    """
    renderer, traffic = Renderer(desk is not None, besides.edge is not None), TrafficWatch(front)
    site = Site(
        control,
        front,
        labels,
        desk,
        inference_url,
        renderer,
        traffic,
        certificates,
        edge=besides.edge,
        kept_verdicts=besides.verdicts,
    )
    pages = Pages(site)
    app.router.routes += [
        ForPeople("/", pages.overview, methods=["GET"]),
        ForPeople("/pages/{name}", pages.static, methods=["GET"]),
        ForPeople("/experiments", pages.experiments, methods=["GET", "POST"]),
        ForPeople("/edge", pages.edge, methods=["GET", "POST"]),
        ForBrowsers("/models/{model}", pages.model, methods=["GET", "POST"]),
        ForPeople("/models/{model}/experiments/{name}", pages.experiment, methods=["GET", "POST"]),
    ]


class ForPeople(Route):
    """A route that OpenAPI does not have."""

    def __init__(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], *, methods: list[str]) -> None:
        super().__init__(path, endpoint, methods=methods, include_in_schema=False)


class ForBrowsers(ForPeople):
    """A page at an address that a program's interface has as well: theirs is what asks for HTML."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Route; another method's request is for the next route, too."""
        match, child = super().matches(scope)
        accepted = next((value for name, value in scope.get("headers", []) if name == b"accept"), b"")
        return (match, child) if match is Match.FULL and b"text/html" in accepted else (Match.NONE, {})


class Pages:
    """What the routes answer; errors as pages, too."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def overview(self, request: Request) -> Response:
        """All that is served."""
        return await self._shown(show_overview(self._site))

    async def static(self, request: Request) -> Response:
        """The stylesheet, the script, the icon."""
        if found := self._site.renderer.static(request.path_params["name"]):
            return found
        raise HTTPException(404, "Not Found")

    async def model(self, request: Request) -> Response:
        """A model; its forms move labels, and send requests."""
        model, site = request.path_params["model"], self._site
        if request.method != "POST":
            return await self._shown(show_model(site, model, done=_done(request)))

        async def act(form: Form) -> Response:
            if form.act == _COMPARE:
                return await show_comparison(site, model, form)
            try:
                return _seen(f"/models/{quote(model, safe='')}", await change_label(site, model, form))
            except ServingError as error:
                return await show_model(site, model, form.refused(error), status_of(error))

        return await self._acted(request, act)

    async def experiments(self, request: Request) -> Response:
        """All experiments; the form writes a new one."""
        site = self._site
        if request.method != "POST":
            return await self._shown(show_experiments(site, request.query_params.get("model", ""), done=_done(request)))

        async def act(form: Form) -> Response:
            try:
                model, name = await create_experiment(site, form)
            except ServingError as error:
                desk_of(site)
                return await show_experiments(site, form=form.refused(error), http_status=status_of(error))
            return _seen(_address(model, name), "created")

        return await self._acted(request, act)

    async def edge(self, request: Request) -> Response:
        """Deliveries to devices; the forms halt rollouts and take them back."""
        site = self._site
        if request.method != "POST":
            return await self._shown(show_edge(site, done=_done(request)))

        async def act(form: Form) -> Response:
            try:
                return _seen("/edge", await change_rollout(site, form))
            except ServingError as error:
                return await show_edge(site, form.refused(error), status_of(error))

        return await self._acted(request, act)

    async def experiment(self, request: Request) -> Response:
        """An experiment; its forms conduct it."""
        model, name, site = request.path_params["model"], request.path_params["name"], self._site
        if request.method != "POST":
            return await self._shown(show_experiment(site, model, name, done=_done(request)))

        async def act(form: Form) -> Response:
            try:
                done = await change_experiment(site, model, name, form)
            except ServingError as error:
                return await show_experiment(site, model, name, form.refused(error), status_of(error))
            return _seen("/experiments" if done == "remove" else _address(model, name), done)

        return await self._acted(request, act)

    async def _acted(self, request: Request, act: Callable[[Form], Awaitable[Response]]) -> Response:
        async def read_and_act() -> Response:
            return await act(await read_form(request))

        return await self._shown(read_and_act())

    async def _shown(self, page: Awaitable[Response]) -> Response:
        try:
            return await page
        except ServingError as error:
            return await self._site.renderer.page(
                "error.html", status_of(error), code=status_of(error), text=str(error)
            )


def _address(model: str, name: str) -> str:
    return f"/models/{quote(model, safe='')}/experiments/{quote(name, safe='')}"


def _done(request: Request) -> str:
    return request.query_params.get("done", "")


def _seen(address: str, done: str) -> Response:
    """Have the browser ask for the page: what it shows then may be loaded again without doing it again."""
    return RedirectResponse(f"{address}?done={quote(done)}#notice", 303)
