"""Lines as the agent sends them, for tests."""

SECOND_NS = 10**9
AREA = "enterprise=acme,site=guiyang,area=assembly"


def path(line: str = "line-1", machine: str = "press-01") -> str:
    return f"{AREA},line={line},machine={machine}"


def window(
    time_ns: int,
    mean: float = 1.5,
    *,
    line: str = "line-1",
    machine: str = "press-01",
    signal: str = "ram_force",
    every: str = "1s",
    rev: int = 0,
) -> str:
    return (
        f"window,{path(line, machine)},signal={signal},every={every} n=10i,good=1,mean={mean},"
        f"std=0.5,min={mean - 1},max={mean + 1},first={mean},last={mean},rev={rev}i {time_ns}"
    )


def anomaly(start_ns: int, fields: str, *, line: str = "line-1", machine: str = "press-01") -> str:
    return f"anomaly,{path(line, machine)},signal=ram_force,detector=level {fields} {start_ns}"


def text(time_ns: int, value: str, *, line: str = "line-1", signal: str = "unit") -> str:
    return f'sample,{path(line)},signal={signal} text="{value}",status=0i {time_ns}'


def gateway(time_ns: int, received: int = 1, name: str = "gw-1", waiting: int = 0) -> str:
    return (
        f"gateway,{AREA},gateway={name} received={received}i,derived={received}i,filtered=0i,"
        f"dropped=0i,pending=0i,made={waiting + 9}i,acknowledged=5i,waiting={waiting}i,replaced=1i,"
        f"dead_letter=1i,lines_dropped=2i,retimed=3i,missed=4i,recovered=5i,withheld=0i,"
        f"balanced=true,outbox_bytes=4096i,outbox_bytes_max=1048576i,hours_left=61.5,oldest_s=0.5,"
        f"lag_ms=1.5,clock_steps=1i,certificate_days=29i,"
        f'version="0.1.0",signals=12i {time_ns}'
    )
