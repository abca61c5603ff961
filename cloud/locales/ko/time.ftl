duration-under-ms = 1ms 미만
duration-ms = { $ms }ms
duration-s = { $s }초
duration-min = { $min }분
duration-h = { $h }시간
duration-h-min = { $h }시간 { $min }분
duration-days = { $days }일
date-full =
    %Y년 %-m월 %-d일 ({ $weekday ->
        [1] 월
        [2] 화
        [3] 수
        [4] 목
        [5] 금
        [6] 토
       *[7] 일
    })
date-day =
    %Y년 %-m월 %-d일 { $weekday ->
        [1] 월
        [2] 화
        [3] 수
        [4] 목
        [5] 금
        [6] 토
       *[7] 일
    }요일
date-near = %-m월 %-d일 %H:%M
date-near-year = %Y년 %-m월 %-d일
time-unknown = 알 수 없는 시각
time-before = { $time } 이전
time-about = { $time }경
time-between = { $from }~{ $to } 사이
time-synchronised = 동기화됨
time-corrected = 보정됨
time-estimated = 추정됨
time-upload = { $time }에 업로드된 사진입니다. 촬영 시각은 알 수 없습니다.
time-synchronised-press = 촬영할 때 카메라의 시계가 기준 시각과 동기화되어 있었습니다.
time-corrected-boot = 카메라는 촬영 { $duration } 전에 켜졌고, 촬영할 때는 아직 시계를 맞추기 전이었습니다.
time-corrected-by = 그 뒤 카메라가 켜져 있는 동안 시계를 맞추어 이 사진의 시각을 { $shift }만큼 보정했습니다.
time-corrected-to = 그 뒤 카메라가 켜져 있는 동안 시계를 맞추어 이 사진의 시각을 실제 시각으로 보정했습니다.
time-contradicted = 카메라 시계의 기록이 서로 맞지 않거나 알려진 다른 시각과 다릅니다. 시계를 잘못 맞춘 적이 있습니다.
time-contradicted-press = 어느 쪽이 맞든 촬영 시각은 { $time }입니다.
time-never-set = 카메라는 촬영 { $duration } 전에 켜졌고, 그 뒤로 시계를 맞추지 못했습니다.
time-estimated-press = 촬영 전후의 기록으로 추정한 촬영 시각은 { $time }입니다.
time-showed = 당시 카메라 시계의 시각: { $time }.
