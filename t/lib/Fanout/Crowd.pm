package Fanout::Crowd;

=head1 NAME

Fanout::Crowd - thousands of members of one channel, run beside a test

=head1 SYNOPSIS

    use Fanout::Nginx;
    use Fanout::Crowd;

    my $crowd = Fanout::Crowd->start($nginx, clients => 5010);

    $crowd->act('open 0 10 sees');
    $crowd->act('open 10 5010 member');
    $crowd->on_worker($pid, 'open 10 5010 member');

    my $r = $crowd->until(sub { $_[0]{seers}[0]{listed} == 5000 });

=head1 DESCRIPTION

Runs build/bench/crowd, which t/bench/run builds if it is not there. The
options of C<start> are those of C<crowd --help>.

=over

=item act(line)

Has it done, and returns what is told afterwards; dies if there is nothing.

=item begin(line), then busy and answer

The same without waiting: whether it is still being done, and what is told
when it was.

=item on_worker(pid, line...)

The same while that worker alone accepts connections.

=item until(sub, timeout?)

Calls the sub with what is told until it is true, and returns what was told
last.

=item stop

=back

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use IO::Select;
use POSIX ();
use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx ();
use Fanout::Socket;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $built;


sub start {
    my ($class, $nginx, %o) = @_;

    if (!$built++) {
        my $said = qx{$^X $root/t/bench/run --build 2>&1};
        die "the crowd was not built:\n$said" if $?;
    }

    $o{port}  ||= $nginx->port;
    $o{limit} ||= 60;
    $o{limit}  *= $Fanout::Socket::SCALE;

    my @args = map { "--$_=$o{$_}" } sort keys %o;

    pipe my $read, my $to or die "pipe: $!";
    pipe my $from, my $write or die "pipe: $!";

    my $pid = fork;
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        open STDIN, '<&', $read;
        open STDOUT, '>&', $write;
        close $_ for $to, $from;
        Fanout::Nginx::die_with_parent();
        exec "$root/build/bench/crowd", @args or POSIX::_exit(127);
    }

    my $self = bless {
        pid => $pid, in => $to, out => $from, text => '', nginx => $nginx,
        limit => $o{limit} + 30
    }, $class;

    $self->answer;

    return $self;
}


sub answer {
    my ($self) = @_;

    my $end = time + $self->{limit};

    while ($self->{text} !~ /\n/) {
        my $left = $end - time;

        die "the crowd doesn't answer\n"
            if $left <= 0 || !IO::Select->new($self->{out})->can_read($left);

        sysread $self->{out}, $self->{text}, 65536, length $self->{text}
            or die "the crowd died\n";
    }

    (my $line, $self->{text}) = split /\n/, $self->{text}, 2;

    return Fanout::JSON::decode($line);
}


sub begin {
    my ($self, $line) = @_;

    syswrite $self->{in}, "$line\n";
}


sub busy {
    my ($self) = @_;

    return $self->{text} !~ /\n/
           && !IO::Select->new($self->{out})->can_read(0);
}


sub act {
    my ($self, $line) = @_;

    $self->begin($line);

    return $self->answer;
}


sub on_worker {
    my ($self, $pid, @lines) = @_;

    my $told;

    # a join before, so that none was stopped inside a lock of the zone

    my $probe = $self->{nginx}->on_worker($pid, sub {
        my $ws = $self->{nginx}->native(timeout => $_[0], path => '/rt');

        $ws->ok('join', channel => 'probe');
        $told = $self->act($_) for @lines;

        return $ws;
    });

    $probe->close(1000);

    return $told;
}


sub until {
    my ($self, $test, $timeout) = @_;

    my $told;

    Fanout::Nginx::wait_for(sub {
        $told = $self->act('tell');
        return $test->($told);
    }, $timeout || 30);

    return $told;
}


sub stop {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    close $self->{in};
    kill 'TERM', $pid;
    local $?;
    waitpid $pid, 0;
}


sub DESTROY { $_[0]->stop }


1;
