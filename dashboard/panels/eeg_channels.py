"""The list in which EEG channels are chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFrame, QGridLayout, QLabel, QListWidget, QListWidgetItem, QPushButton, QWidget

from dashboard.drawing.theme import px
from dashboard.figures.channel_groups import channel_groups

PAGES = (0, 8, 16, 32)
"""Channels that are shown at a time; 0 for all that are chosen."""
_COLUMNS = 3


class ChannelPicker(QFrame):
    """A small window over the panel: a box per channel, a button per group, and how many are shown at a time."""

    changed = Signal()
    """Another choice was made."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("card")
        self.list = QListWidget()
        self.list.setMinimumSize(px(240), px(260))
        self.page = QComboBox()
        for number in PAGES:
            self.page.addItem("all on one page" if not number else f"{number} per page: wheel", number)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(px(8), px(8), px(8), px(8))
        self._grid.setSpacing(px(4))
        self._buttons: list[QPushButton] = []
        self._names: tuple[str, ...] = ()
        self._loud = True
        self.list.itemChanged.connect(self._tell)
        self.page.currentIndexChanged.connect(self._tell)

    def offer(self, names: Sequence[str], chosen: Sequence[int], per_page: int) -> None:
        """Set what there is to choose from, and what is chosen."""
        self._loud = False
        if tuple(names) != self._names:
            self._names = tuple(names)
            self._lay_out()
        self.check(chosen)
        self.page.setCurrentIndex(max(0, self.page.findData(per_page)))
        self._loud = True

    def _lay_out(self) -> None:
        for button in self._buttons:
            self._grid.removeWidget(button)
            button.deleteLater()
        self._buttons.clear()
        self.list.clear()
        for name in self._names:
            item = QListWidgetItem(name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            self.list.addItem(item)
        groups = channel_groups(self._names)
        for place, (group, members) in enumerate(groups.items()):
            button = QPushButton(f"{group} ({len(members)})")
            button.clicked.connect(lambda _checked=False, members=members: self._take(members))
            self._grid.addWidget(button, place // _COLUMNS, place % _COLUMNS)
            self._buttons.append(button)
        below = -(-len(groups) // _COLUMNS)
        self._grid.addWidget(self.list, below, 0, 1, _COLUMNS)
        self._grid.addWidget(QLabel("show"), below + 1, 0)
        self._grid.addWidget(self.page, below + 1, 1, 1, _COLUMNS - 1)

    def check(self, chosen: Sequence[int]) -> None:
        """Check the boxes of these and of no others."""
        members = set(chosen)
        for row in range(self.list.count()):
            state = Qt.CheckState.Checked if row in members else Qt.CheckState.Unchecked
            self.list.item(row).setCheckState(state)

    def _take(self, members: Sequence[int]) -> None:
        self._loud = False
        self.check(members)
        self._loud = True
        self._tell()

    def _tell(self) -> None:
        if self._loud:
            self.changed.emit()

    def chosen(self) -> list[int]:
        """Give the channels whose boxes are checked."""
        rows = range(self.list.count())
        return [row for row in rows if self.list.item(row).checkState() == Qt.CheckState.Checked]

    def per_page(self) -> int:
        """Tell how many are to be shown at a time; 0 for all."""
        return int(self.page.currentData() or 0)
